//! A distribution of durations: exact count, minimum, maximum and mean, percentiles from a histogram.
//!
//! Memory decides the shape. At most 200 endpoints with eight distributions each have to fit into a few tens
//! of MiB, so a histogram is created with its first value, grows with its largest, counts in 32 bits, and
//! tells values below [`LOWEST_NS`] not apart. With tails of 10 s that is 74 KiB at three significant digits
//! and 11 KiB at two. Measured with 200 endpoints that fill all eight up to 17 s: 36 MiB, the worst case; a tenth
//! of that in a common run.

mod saved;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::profile::Percentile;

/// Values closer together than this are the same to the histogram, nanoseconds.
const LOWEST_NS: u64 = 128;

/// Longer durations are counted as this long (52 days) in percentiles; the maximum stays exact. It bounds how
/// far a histogram can grow.
const HIGHEST_NS: u64 = 1 << 52;

/// How finely a distribution tells values apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Three significant digits, values are off by at most 0.05 %: for what objectives usually bind to.
    Fine,
    /// Two significant digits, values are off by at most 0.4 %: for the parts.
    Coarse,
}

impl Resolution {
    const fn significant_digits(self) -> u8 {
        match self {
            Self::Fine => 3,
            Self::Coarse => 2,
        }
    }
}

/// See the head of this file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "saved::Saved", try_from = "saved::Saved")]
pub struct Durations {
    resolution: Resolution,
    histogram: Option<Histogram<u32>>,
    count: u64,
    min_ns: u64,
    max_ns: u64,
    sum_ns: u128,
    /// Of the squares, in ns²: for the interval of the mean. Whole numbers, so that the order of adding is nothing.
    sum_of_squares: u128,
}

impl Durations {
    /// An empty distribution; takes no memory yet.
    pub const fn new(resolution: Resolution) -> Self {
        Self {
            resolution,
            histogram: None,
            count: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            sum_ns: 0,
            sum_of_squares: 0,
        }
    }

    /// Adds one duration.
    pub fn record(&mut self, duration_ns: u64) {
        self.count += 1;
        self.min_ns = self.min_ns.min(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
        self.sum_ns += u128::from(duration_ns);
        self.sum_of_squares = self.sum_of_squares.saturating_add(u128::from(duration_ns).pow(2));
        if self.histogram.is_none() {
            self.histogram = new_histogram(self.resolution);
        }
        if let Some(histogram) = &mut self.histogram {
            // Fails only where the histogram may not grow; ours may, and `HIGHEST_NS` bounds how far.
            let _ = histogram.record(duration_ns.min(HIGHEST_NS));
        }
    }

    /// Adds all that another has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        match (&mut self.histogram, &other.histogram) {
            (_, None) => {}
            (None, Some(theirs)) => self.histogram = Some(theirs.clone()),
            // Fails as little as in `record`.
            (Some(ours), Some(theirs)) => drop(ours.add(theirs)),
        }
    }

    /// How many were recorded.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The shortest; none of nothing.
    pub fn min_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min_ns)
    }

    /// The longest; none of nothing.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }

    /// The arithmetic mean; none of nothing.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }

    /// Standard error of the mean; none of fewer than two.
    pub fn mean_error_ns(&self) -> Option<f64> {
        let mean = self.mean_ns()?;
        let n = self.count as f64;
        // The two terms can cancel to a hair below 0 when all values are equal.
        let variance = (self.sum_of_squares as f64 - n * mean * mean).max(0.0) / (n - 1.0);
        (self.count > 1).then(|| (variance / n).sqrt())
    }

    /// The percentile by nearest rank; none of nothing.
    pub fn percentile_ns(&self, percentile: Percentile) -> Option<u64> {
        self.at_ranks_ns([percentile.rank(self.count)]).map(|[value]| value)
    }

    /// The values at these ranks (1 is the shortest), which must ascend; none of nothing.
    /// One pass for all of them.
    pub fn at_ranks_ns<const N: usize>(&self, ranks: [u64; N]) -> Option<[u64; N]> {
        let histogram = self.histogram.as_ref()?;
        let mut values = [self.max_ns; N];
        let mut open = ranks.into_iter().zip(&mut values).peekable();
        let mut seen = 0;
        for bucket in histogram.iter_recorded() {
            seen += bucket.count_since_last_iteration();
            let middle = histogram.median_equivalent(bucket.value_iterated_to());
            // The lowest bucket is mostly made of zeros (parts that a request did not have), not of its middle.
            let value_ns =
                if middle < LOWEST_NS { self.min_ns } else { middle.clamp(self.min_ns, self.max_ns) };
            // The last rank is the maximum itself, which is known exactly.
            while let Some((_, value)) = open.next_if(|(rank, _)| *rank <= seen && *rank < self.count) {
                *value = value_ns;
            }
        }
        Some(values)
    }
}

fn new_histogram(resolution: Resolution) -> Option<Histogram<u32>> {
    // The bounds are valid constants, which a test holds; the smallest upper bound lets it grow as needed.
    let mut histogram =
        Histogram::new_with_bounds(LOWEST_NS, 2 * LOWEST_NS, resolution.significant_digits()).ok()?;
    histogram.auto(true);
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn durations(resolution: Resolution, values: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::new(resolution);
        values.into_iter().for_each(|value| durations.record(value));
        durations
    }

    #[test]
    fn nothing_has_no_values() {
        let empty = Durations::new(Resolution::Fine);
        assert_eq!(empty.percentile_ns(Percentile::P50), None, "an empty histogram must not read as 0 ns");
        assert_eq!((empty.min_ns(), empty.max_ns(), empty.mean_ns()), (None, None, None));
    }

    #[test]
    fn one_to_thousand_milliseconds() {
        let all = durations(Resolution::Fine, (1..=1000).map(|ms| ms * 1_000_000));
        assert_eq!(all.min_ns(), Some(1_000_000));
        assert_eq!(all.max_ns(), Some(1_000_000_000));
        assert_eq!(all.mean_ns(), Some(500_500_000.0));
        for (percentile, ms) in [(Percentile::P50, 500), (Percentile::P95, 950), (Percentile::P99, 990)] {
            let value = all.percentile_ns(percentile).unwrap() as f64 / 1e6;
            assert!((value / f64::from(ms) - 1.0).abs() < 0.0006, "{percentile:?}: {value} ms");
        }
    }

    #[test]
    fn the_error_of_the_mean_of_two_values_is_half_their_distance() {
        let two = durations(Resolution::Coarse, [1_000, 3_000]);
        assert!((two.mean_error_ns().unwrap() - 1_000.0).abs() < 1e-6);
        assert_eq!(durations(Resolution::Coarse, [7]).mean_error_ns(), None);
    }

    /// The budget stated in the head of the file.
    #[test]
    fn a_histogram_up_to_ten_seconds_is_small() {
        for (resolution, limit_bytes) in [(Resolution::Fine, 80_000), (Resolution::Coarse, 12_000)] {
            let all = durations(resolution, [1, 10_000_000_000]);
            let bytes = all.histogram.unwrap().distinct_values() * 4;
            assert!(bytes < limit_bytes, "{resolution:?}: {bytes} bytes");
        }
    }

    #[test]
    fn parts_that_are_mostly_zero_read_as_zero() {
        let part = durations(Resolution::Coarse, [0, 0, 0, 0, 97_000_000]);
        assert_eq!(part.at_ranks_ns([1, 4, 5]), Some([0, 0, 97_000_000]));
    }

    proptest! {
        /// Every value is recorded, and each rank is as near as the resolution says.
        #[test]
        fn ranks_are_near(mut values in prop::collection::vec(any::<u64>(), 1..50), coarse: bool) {
            let (resolution, tolerance) =
                if coarse { (Resolution::Coarse, 0.0041) } else { (Resolution::Fine, 0.00051) };
            let all = durations(resolution, values.iter().copied());
            values.sort_unstable();
            prop_assert_eq!(all.histogram.as_ref().map(Histogram::len), Some(values.len() as u64));
            for (index, &value) in values.iter().enumerate() {
                let [got] = all.at_ranks_ns([index as u64 + 1]).unwrap();
                let wanted = value.min(HIGHEST_NS) as f64;
                let off = (got as f64 - wanted).abs();
                prop_assert!(
                    value > HIGHEST_NS || off <= wanted * tolerance + LOWEST_NS as f64,
                    "rank {}: {} for {}", index + 1, got, value
                );
                prop_assert!(got >= values[0] && got <= values[values.len() - 1]);
            }
        }
    }
}
