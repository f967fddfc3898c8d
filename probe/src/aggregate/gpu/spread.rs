//! An exact distribution of a level: whole steps of a unit with their weights.
//!
//! Percentages, degrees and megahertz are whole numbers as the driver gives them; what is finer (bytes, milliwatts) is
//! kept in steps that are finer than its truth. So there are few distinct values, and nothing is approximated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::profile::{Percentile, Stat};

/// Past this many distinct steps, more than any GPU has levels, new ones are counted with their neighbour.
const MAX_STEPS: usize = 1 << 16;

/// See the head of this file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// Values that are a step apart or less may be told as the same.
    step: u64,
    /// One of the unit that the values are told in.
    unit: f64,
    weights: BTreeMap<u64, u64>,
    count: u64,
    weight: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Spread {
    /// Empty. Values are told in multiples of `unit`, percentiles in steps of `step`.
    pub const fn new(step: u64, unit: f64) -> Self {
        Self { step, unit, weights: BTreeMap::new(), count: 0, weight: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Adds a value that held for `weight`, which is above 0.
    pub fn add(&mut self, value: u64, weight: u64) {
        let mut step = value / self.step;
        if self.weights.len() >= MAX_STEPS && !self.weights.contains_key(&step) {
            step = self.weights.range(..=step).next_back().map_or(0, |(step, _)| *step);
        }
        let sum = self.weights.entry(step).or_default();
        *sum = sum.saturating_add(weight);
        self.count = self.count.saturating_add(1);
        self.weight = self.weight.saturating_add(weight);
        self.sum = self.sum.saturating_add(u128::from(value) * u128::from(weight));
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds all values of another of the same steps.
    pub fn merge(&mut self, other: &Self) {
        for (step, weight) in &other.weights {
            let sum = self.weights.entry(*step).or_default();
            *sum = sum.saturating_add(*weight);
        }
        self.count = self.count.saturating_add(other.count);
        self.weight = self.weight.saturating_add(other.weight);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// One of its values; none of nothing.
    pub fn stat(&self, stat: Stat) -> Option<f64> {
        if self.weight == 0 {
            return None;
        }
        Some(match stat {
            Stat::Percentile(percentile) => self.percentile(percentile) as f64 * self.unit,
            Stat::Mean => self.sum as f64 / self.weight as f64 * self.unit,
            Stat::Min => self.min as f64 * self.unit,
            Stat::Max => self.max as f64 * self.unit,
        })
    }

    /// By nearest rank in the weights.
    fn percentile(&self, percentile: Percentile) -> u64 {
        let rank = percentile.rank(self.weight).max(1);
        let mut seen = 0u64;
        let step = self.weights.iter().find(|(_, weight)| {
            seen = seen.saturating_add(**weight);
            seen >= rank
        });
        let value = step.map_or(self.max, |(step, _)| step.saturating_mul(self.step));
        value.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_count_not_values() {
        let mut spread = Spread::new(1, 0.01);
        assert_eq!(spread.stat(Stat::Mean), None);
        // Ten short times at 0 %, one that is as long as nine of them at 100 %.
        for _ in 0..10 {
            spread.add(0, 10);
        }
        spread.add(100, 90);
        assert_eq!(spread.count(), 11);
        let mean = spread.stat(Stat::Mean).unwrap();
        assert!((mean - 90.0 / 190.0).abs() < 1e-12, "{mean}");
        assert_eq!(spread.stat(Stat::Percentile(Percentile::P50)), Some(0.0));
        assert_eq!(spread.stat(Stat::Percentile(Percentile::P90)), Some(1.0));
        assert_eq!((spread.stat(Stat::Min), spread.stat(Stat::Max)), (Some(0.0), Some(1.0)));
    }

    proptest! {
        /// In single steps every percentile is the very value of that rank.
        #[test]
        fn percentiles_are_exact(mut values in prop::collection::vec(0u64..300, 1..200)) {
            let mut spread = Spread::new(1, 1.0);
            for value in &values {
                spread.add(*value, 1);
            }
            values.sort_unstable();
            for percentile in [Percentile::P50, Percentile::P90, Percentile::P95, Percentile::P99, Percentile::P999] {
                let rank = usize::try_from(percentile.rank(values.len() as u64)).unwrap();
                prop_assert_eq!(spread.stat(Stat::Percentile(percentile)), Some(values[rank - 1] as f64));
            }
        }

        /// Two halves, kept and merged, are the whole.
        #[test]
        fn merged_is_as_if_counted_together(values in prop::collection::vec((0u64..1 << 40, 1u64..1 << 20, any::<bool>()), 1..80)) {
            let (mut whole, mut a, mut b) = (Spread::new(7, 1.0), Spread::new(7, 1.0), Spread::new(7, 1.0));
            for (value, weight, is_a) in values {
                whole.add(value, weight);
                if is_a { &mut a } else { &mut b }.add(value, weight);
            }
            let kept: Spread = serde_json::from_str(&serde_json::to_string(&b).unwrap()).unwrap();
            a.merge(&kept);
            prop_assert_eq!(format!("{a:?}"), format!("{whole:?}"));
        }

        /// In coarse steps it is off by a step at most, and memory stays bounded whatever comes.
        #[test]
        fn steps(values in prop::collection::vec(any::<(u64, u64)>(), 1..50), step in 1u64..1000) {
            let mut spread = Spread::new(step, 1.0);
            for (value, weight) in values {
                spread.add(value, weight.max(1));
            }
            let (min, max) = (spread.min, spread.max);
            let median = spread.percentile(Percentile::P50);
            prop_assert!(min <= median && median <= max);
        }
    }
}
