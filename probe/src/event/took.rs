//! Durations in the kernel's buckets, summed over CPUs and runs.

use probe_common::hist::{self, bucket_of};
use serde::{Deserialize, Serialize};

/// A histogram of durations in the kernel's buckets (see [`probe_common::hist`]), only those that hold calls. One that was
/// read from a recording can hold anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Sum of all durations.
    pub sum_ns: u64,
    /// Shortest.
    pub min_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// (bucket, calls), in no order.
    pub buckets: Vec<(u16, u64)>,
}

impl Took {
    /// Takes in one duration.
    pub fn add(&mut self, took_ns: u64) {
        self.join(&Self {
            sum_ns: took_ns,
            min_ns: took_ns,
            max_ns: took_ns,
            buckets: vec![(u16::try_from(bucket_of(took_ns)).unwrap_or(u16::MAX), 1)],
        });
    }

    /// Takes in what one CPU counted.
    pub fn add_cpu(&mut self, cpu: &hist::Durations) {
        let buckets = cpu.buckets.iter().enumerate().filter(|(_, calls)| **calls > 0);
        self.join(&Self {
            sum_ns: cpu.sum_ns,
            min_ns: cpu.min_ns,
            max_ns: cpu.max_ns,
            buckets: buckets
                .filter_map(|(bucket, calls)| Some((u16::try_from(bucket).ok()?, *calls)))
                .collect(),
        });
    }

    /// Takes in all that another one holds.
    pub fn join(&mut self, other: &Self) {
        if other.buckets.is_empty() {
            return;
        }
        self.min_ns = if self.buckets.is_empty() { other.min_ns } else { self.min_ns.min(other.min_ns) };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        for (bucket, calls) in &other.buckets {
            match self.buckets.iter_mut().find(|(known, _)| known == bucket) {
                Some((_, count)) => *count = count.saturating_add(*calls),
                None => self.buckets.push((*bucket, *calls)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However durations are spread over CPUs and over both sides, the sum is that of all of them.
        #[test]
        fn parts_make_the_whole(values in prop::collection::vec((0u64..1 << 50, 0usize..3), 0..60)) {
            let mut cpus = [hist::Durations::NONE; 2];
            let (mut sum, mut whole) = (Took::default(), Took::default());
            for (value, place) in &values {
                whole.add(*value);
                match cpus.get_mut(*place) {
                    Some(cpu) => cpu.record(*value, bucket_of(*value)),
                    None => sum.add(*value),
                }
            }
            for cpu in &cpus {
                sum.add_cpu(cpu);
            }
            sum.buckets.sort_unstable();
            whole.buckets.sort_unstable();
            prop_assert_eq!(&sum, &whole);
            prop_assert_eq!(sum.buckets.iter().map(|(_, calls)| calls).sum::<u64>(), values.len() as u64);
            prop_assert_eq!(sum.sum_ns, values.iter().map(|(value, _)| value).sum::<u64>());
            prop_assert_eq!(sum.min_ns, values.iter().map(|(value, _)| *value).min().unwrap_or(0));
            prop_assert_eq!(sum.max_ns, values.iter().map(|(value, _)| *value).max().unwrap_or(0));
        }
    }
}
