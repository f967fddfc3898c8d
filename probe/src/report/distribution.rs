//! Distributions of the report, from the agent's histograms and from the kernel's.

use probe_common::hist::{N_BUCKETS, bounds_of};

use super::model::Distribution;
use crate::aggregate::Durations;
use crate::event::Took;
use crate::profile::Percentile;

const NS_PER_S: f64 = 1e9;
const PERCENTILES: [Percentile; 5] =
    [Percentile::P50, Percentile::P90, Percentile::P95, Percentile::P99, Percentile::P999];

impl From<&Durations> for Distribution {
    fn from(durations: &Durations) -> Self {
        let count = durations.count();
        let Some(percentiles) = durations.at_ranks_ns(PERCENTILES.map(|percentile| percentile.rank(count)))
        else {
            return Self::default();
        };
        let edges = [durations.min_ns(), durations.max_ns()];
        Self::new(count, edges, durations.mean_ns(), percentiles)
    }
}

/// Of the kernel's histograms. A percentile is the middle of its bucket, off by at most 6.25 %.
impl From<&Took> for Distribution {
    fn from(Took { buckets, min_ns, max_ns, sum_ns }: &Took) -> Self {
        let (min_ns, max_ns) = (*min_ns, *max_ns);
        // The buckets are the distribution's own population: `calls` may count ones the kernel did not time.
        let mut buckets: Vec<(u16, u64)> =
            buckets.iter().copied().filter(|(bucket, _)| usize::from(*bucket) < N_BUCKETS).collect();
        buckets.sort_unstable();
        let count = buckets.iter().fold(0u64, |sum, (_, calls)| sum.saturating_add(*calls));
        if count == 0 {
            return Self::default();
        }
        let at_rank = |rank: u64| {
            let mut seen = 0u64;
            let found = buckets.iter().find(|(_, calls)| {
                seen = seen.saturating_add(*calls);
                seen >= rank
            });
            let middle = found.map_or(max_ns, |(bucket, _)| {
                let (low, high) = bounds_of(usize::from(*bucket));
                low + (high - low) / 2
            });
            middle.max(min_ns).min(max_ns)
        };
        let percentiles = PERCENTILES.map(|percentile| at_rank(percentile.rank(count)));
        let mean_ns = *sum_ns as f64 / count as f64;
        Self::new(count, [Some(min_ns), Some(max_ns)], Some(mean_ns), percentiles)
    }
}

impl Distribution {
    fn new(count: u64, [min, max]: [Option<u64>; 2], mean_ns: Option<f64>, percentiles: [u64; 5]) -> Self {
        let seconds = |ns: u64| ns as f64 / NS_PER_S;
        let [p50, p90, p95, p99, p999] = percentiles.map(|ns| Some(seconds(ns)));
        Self {
            count,
            min: min.map(seconds),
            mean: mean_ns.map(|ns| ns / NS_PER_S),
            p50,
            p90,
            p95,
            p99,
            p999,
            max: max.map(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::hist::bucket_of;
    use proptest::prelude::*;

    fn took(values: &[u64]) -> Took {
        Took {
            sum_ns: values.iter().sum(),
            min_ns: values.iter().copied().min().unwrap_or(0),
            max_ns: values.iter().copied().max().unwrap_or(0),
            // Unmerged and unsorted on purpose.
            buckets: values.iter().map(|value| (u16::try_from(bucket_of(*value)).unwrap(), 1)).collect(),
        }
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(Distribution::from(&took(&[])), Distribution::default());
        let text = serde_json::to_string(&Distribution::default()).unwrap();
        assert_eq!(
            text,
            r#"{"count":0,"min":null,"mean":null,"p50":null,"p90":null,"p95":null,"p99":null,"p999":null,"max":null}"#
        );
    }

    #[test]
    fn a_single_call_is_exact() {
        let one = Distribution::from(&took(&[123_456]));
        assert_eq!((one.min, one.p50, one.p999, one.max), (Some(123_456e-9), one.min, one.min, one.min));
    }

    proptest! {
        #[test]
        fn kernel_percentiles_are_near(mut values in prop::collection::vec(0u64..1 << 40, 1..100)) {
            let got = Distribution::from(&took(&values));
            values.sort_unstable();
            for (percentile, value) in PERCENTILES.iter().zip([got.p50, got.p90, got.p95, got.p99, got.p999]) {
                let exact = values[usize::try_from(percentile.rank(values.len() as u64)).unwrap() - 1] as f64 / NS_PER_S;
                prop_assert!((value.unwrap() - exact).abs() <= exact * 0.0626 + 1e-12, "{value:?} for {exact}");
            }
        }

        /// Also what no kernel would write.
        #[test]
        fn any_buckets_are_taken(buckets in prop::collection::vec(any::<(u16, u64)>(), 0..20), min_ns: u64, max_ns: u64) {
            let _ = Distribution::from(&Took { sum_ns: 0, min_ns, max_ns, buckets });
        }
    }
}
