//! The binomial distribution, exactly: what it takes to say something about a share of requests.
//!
//! Everything here is two-sided at 95 %: either end is wrong with a probability of at most 2.5 %.

use crate::profile::Percentile;

/// Probability that is left out at either end.
const TAIL: f64 = 0.025;

/// Terms below this share of the largest one do not change a sum in f64.
const NEGLIGIBLE: f64 = 1e-20;

/// Halvings of the interval 0..1 when a bound is searched: to 1e-12.
const BISECTIONS: u32 = 40;

/// Successes among `n` trials of probability `p`; only outcomes that are not negligible.
struct Binomial {
    first: u64,
    /// P(outcome ≤ first + index).
    cumulative: Vec<f64>,
}

impl Binomial {
    /// `p` above 0 and below 1. Time and memory grow with the square root of `n`.
    fn new(n: u64, p: f64) -> Self {
        let mode = whole((n as f64 + 1.0) * p).min(n);
        let odds = p / (1.0 - p);
        // Weights relative to the mode's, from the ratio of neighbours: no factorials, no overflow.
        let mut below = Vec::new();
        let mut weight = 1.0;
        let mut k = mode;
        while k > 0 && weight > NEGLIGIBLE {
            weight *= k as f64 / ((n - k + 1) as f64 * odds);
            k -= 1;
            below.push(weight);
        }
        let first = mode - below.len() as u64;
        let mut weights: Vec<f64> = below.into_iter().rev().chain([1.0]).collect();
        weight = 1.0;
        k = mode;
        while k < n && weight > NEGLIGIBLE {
            weight *= (n - k) as f64 * odds / (k + 1) as f64;
            k += 1;
            weights.push(weight);
        }
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        for weight in &mut weights {
            sum += *weight;
            *weight = sum / total;
        }
        Self { first, cumulative: weights }
    }

    /// P(outcome ≤ `k`).
    fn cdf(&self, k: u64) -> f64 {
        match k.checked_sub(self.first) {
            None => 0.0,
            Some(index) => {
                usize::try_from(index).ok().and_then(|at| self.cumulative.get(at)).copied().unwrap_or(1.0)
            }
        }
    }

    /// The smallest outcome with P(≤ it) ≥ `probability`.
    fn quantile(&self, probability: f64) -> u64 {
        self.first + self.cumulative.partition_point(|cumulative| *cumulative < probability) as u64
    }
}

/// The ranks (1 is the smallest) between which the quantile `share` of the population lies, as far as `n`
/// values can tell, whatever their distribution; none where they are too few for a rank on either side.
pub(super) fn order_statistic_ranks(n: u64, share: f64) -> Option<(u64, u64)> {
    if n < samples_for_quantile(share) {
        return None;
    }
    let binomial = Binomial::new(n, share);
    // The value of rank r is above the quantile with P(outcome ≤ r - 1): so `low` is the largest rank for
    // which that stays within the tail, `high` the smallest for which it leaves no more than a tail.
    let low = binomial.quantile(TAIL);
    let low = if binomial.cdf(low) <= TAIL { low + 1 } else { low };
    let high = binomial.quantile(1.0 - TAIL) + 1;
    (low >= 1 && high <= n).then_some((low, high))
}

/// Values it takes until an interval around the quantile exists: 72 for the 95th percentile, 368 for the 99th.
pub(super) fn samples_for_quantile(share: f64) -> u64 {
    let rarer = share.max(1.0 - share);
    whole((TAIL.ln() / rarer.ln()).ceil())
}

/// As [`samples_for_quantile`], of a percentile.
pub fn samples_for_percentile(percentile: Percentile) -> u64 {
    samples_for_quantile(percentile.share())
}

/// Trials it takes until not one bad outcome among them shows that their share is at most `limit`;
/// the same number as for the quantile `1 - limit`. With nothing tolerated one trial is a statement.
pub(super) fn samples_for_share(limit: f64) -> u64 {
    if limit <= 0.0 || limit >= 1.0 { 1 } else { whole((TAIL.ln() / (1.0 - limit).ln()).ceil()) }
}

/// The share of which `successes` among `n` are a sample (Clopper and Pearson's interval); `n` above 0.
pub(super) fn share_interval(successes: u64, n: u64) -> (f64, f64) {
    let low = if successes == 0 {
        0.0
    } else {
        // P(≥ successes) grows with p: the p at which it is just the tail.
        bisect(|p| 1.0 - Binomial::new(n, p).cdf(successes - 1) > TAIL)
    };
    let high = if successes >= n { 1.0 } else { bisect(|p| Binomial::new(n, p).cdf(successes) < TAIL) };
    (low, high)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts, never negative; `as` saturates"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// The point from 0 to 1 where the condition becomes true.
fn bisect(is_beyond: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if is_beyond(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_needed() {
        for (share, n) in [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)] {
            assert_eq!(samples_for_quantile(share), n, "{share}");
            assert_eq!(order_statistic_ranks(n - 1, share), None, "{share} of {}", n - 1);
            let (low, high) = order_statistic_ranks(n, share).unwrap();
            assert!(low < high && high == n, "{share}: {low}..{high}");
        }
        for (limit, n) in [(0.0, 1), (0.01, 368), (0.05, 72), (0.1, 36), (1.0, 1)] {
            assert_eq!(samples_for_share(limit), n, "{limit}");
        }
    }

    /// Tables of the order-statistic interval: the median of 20 lies between the 6th and the 15th value, that
    /// of 100 between the 40th and the 61st (Conover, Practical Nonparametric Statistics, table A3).
    #[test]
    fn known_ranks() {
        assert_eq!(order_statistic_ranks(20, 0.5), Some((6, 15)));
        assert_eq!(order_statistic_ranks(100, 0.5), Some((40, 61)));
        assert_eq!(order_statistic_ranks(6, 0.5), Some((1, 6)));
    }

    /// Clopper and Pearson's own textbook values: 0 of 10, 5 of 10, 10 of 10, and the rule of three's cousin.
    #[test]
    fn known_shares() {
        for (successes, n, low, high) in [
            (0, 10, 0.0, 0.3085),
            (5, 10, 0.1871, 0.8129),
            (10, 10, 0.6915, 1.0),
            (0, 368, 0.0, 0.009_974),
            (1, 1, 0.025, 1.0),
        ] {
            let (got_low, got_high) = share_interval(successes, n);
            assert!(
                (got_low - low).abs() < 5e-5 && (got_high - high).abs() < 5e-5,
                "{successes}/{n}: {got_low} {got_high}"
            );
        }
    }

    #[test]
    fn millions_are_no_problem() {
        let (low, high) = order_statistic_ranks(10_000_000, 0.99).unwrap();
        // Normal approximation: 9 900 000 ± 1.96 · sqrt(n p q) = ± 617.
        assert!(low.abs_diff(9_899_383) <= 2 && high.abs_diff(9_900_617) <= 2, "{low} {high}");
    }

    proptest! {
        /// Both ends keep their promise, and neither could be closer. (Exact sums, so a hair of tolerance.)
        #[test]
        fn ranks_cover_tightly(n in 6u64..3000, per_mille in 1u16..1000) {
            let share = f64::from(per_mille) / 1000.0;
            if let Some((low, high)) = order_statistic_ranks(n, share) {
                let binomial = Binomial::new(n, share);
                prop_assert!(binomial.cdf(low - 1) <= TAIL + 1e-12);
                prop_assert!(binomial.cdf(low) > TAIL - 1e-12);
                prop_assert!(1.0 - binomial.cdf(high - 1) <= TAIL + 1e-12);
                prop_assert!(1.0 - binomial.cdf(high - 2) > TAIL - 1e-12);
                prop_assert!(low <= high);
            }
        }

        #[test]
        fn shares_hold_their_estimate(n in 1u64..2000, part in 0.0..=1.0f64) {
            let successes = whole(n as f64 * part);
            let (low, high) = share_interval(successes, n);
            let estimate = successes as f64 / n as f64;
            prop_assert!(0.0 <= low && low <= estimate && estimate <= high && high <= 1.0);
        }
    }
}
