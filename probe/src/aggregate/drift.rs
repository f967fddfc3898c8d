//! Whether a phase had settled: a trend in the latency from its beginning to its end.
//!
//! A warm-up that was too short makes every number of what follows a mixture of two systems. The test is that of Mann and
//! Kendall on the medians of the windows of time, which asks for no shape of the trend; and because a long phase shows
//! trends that nobody minds, its last third must differ from its first by a quarter as well.

use super::series::Series;
use crate::profile::Percentile;

/// Fewer windows have no trend.
const MIN_WINDOWS: usize = 8;
/// A window with fewer answers has no median.
const MIN_ANSWERS: u64 = 5;
/// Standard deviations: one phase in a thousand that has settled is past it.
const Z: f64 = 3.29;
/// Less than this is no drift, however sure.
const LEAST: f64 = 1.25;
/// Nor is this.
const LEAST_NS: u64 = 1_000_000;

/// A trend: the median of the first third of the windows, and of the last, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// In the first third.
    pub first_ns: u64,
    /// In the last third.
    pub last_ns: u64,
    /// Windows that were looked at.
    pub windows: usize,
}

impl Series {
    /// The trend between two moments, if there is one.
    pub fn drift(&self, from_ns: u64, to_ns: u64) -> Option<Drift> {
        let width_ns = self.width_ns();
        let inside = self.windows().filter(|(start_ns, window)| {
            *start_ns >= from_ns
                && start_ns.saturating_add(width_ns) <= to_ns
                && window.requests >= MIN_ANSWERS
        });
        let medians: Vec<u64> =
            inside.filter_map(|(_, window)| window.percentile_ns(Percentile::P50)).collect();
        drift(&medians)
    }
}

fn drift(medians: &[u64]) -> Option<Drift> {
    let n = medians.len();
    if n < MIN_WINDOWS || trend(medians).abs() < Z {
        return None;
    }
    let third = n / 3;
    let (first_ns, last_ns) = (median(&medians[..third]), median(&medians[n - third..]));
    let (low, high) = (first_ns.min(last_ns), first_ns.max(last_ns));
    let is_large = high as f64 > low as f64 * LEAST && high - low >= LEAST_NS;
    is_large.then_some(Drift { first_ns, last_ns, windows: n })
}

/// The statistic of Mann and Kendall, in standard deviations; equal values are no evidence either way.
fn trend(values: &[u64]) -> f64 {
    let mut sum = 0i64;
    for (at, earlier) in values.iter().enumerate() {
        sum += values[at + 1..].iter().map(|later| later.cmp(earlier) as i64).sum::<i64>();
    }
    let n = values.len() as f64;
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|same| same.len() as f64)
        .map(|t| t * (t - 1.0) * (2.0 * t + 5.0))
        .sum();
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0;
    if variance <= 0.0 { 0.0 } else { (sum - sum.signum()) as f64 / variance.sqrt() }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_settles_has_no_drift_and_what_grows_has() {
        let rising: Vec<u64> = (10..30).map(|n| n * MS).collect();
        let found = drift(&rising).unwrap();
        assert_eq!((found.first_ns, found.last_ns, found.windows), (13 * MS, 27 * MS, 20));
        let falling: Vec<u64> = rising.iter().rev().copied().collect();
        assert!(drift(&falling).is_some(), "a cache that fills is a drift as well");
        assert_eq!(drift(&rising[..7]), None, "too few windows");
        let (noisy, flat) = ((0..40).map(|n| (20 + n * 7 % 11) * MS).collect::<Vec<_>>(), [5 * MS; 30]);
        assert_eq!((drift(&noisy), drift(&flat)), (None, None));
        let slight: Vec<u64> = (0..30).map(|n| 100 * MS + n * MS / 3).collect();
        assert_eq!(drift(&slight), None, "sure, but a tenth");
        let tiny: Vec<u64> = (1..30).map(|n| n * 10_000).collect();
        assert_eq!(drift(&tiny), None, "sure, but microseconds");
    }

    /// Known value: 1 2 3 4 5 6 7 8 has 28 pairs in order, variance 65.33.
    #[test]
    fn the_statistic_is_that_of_the_books() {
        assert!(
            (trend(&[1, 2, 3, 4, 5, 6, 7, 8]) - 27.0 / (8.0f64 * 7.0 * 21.0 / 18.0).sqrt()).abs() < 1e-12
        );
        assert!(trend(&[3; 9]).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn reversed_time_is_the_opposite(values in prop::collection::vec(any::<u64>(), 0..60)) {
            let back: Vec<u64> = values.iter().rev().copied().collect();
            prop_assert!((trend(&values) + trend(&back)).abs() < 1e-9);
            let _ = drift(&values);
        }
    }
}
