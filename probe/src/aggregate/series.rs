//! Numbers over time, bounded: windows that double in width as the run goes on.
//!
//! For plots and for what no percentile of a whole run shows (a collapse in the last minute). Latencies are told apart
//! to 6.25 %, in the buckets of the kernel's histograms, and only as many as there are buckets are kept per window.

use std::collections::BTreeMap;

use probe_common::hist::{bounds_of, bucket_of};
use serde::{Deserialize, Serialize};

use crate::correlate::Exchange;
use crate::event::Ending;
use crate::profile::Percentile;

/// With one more, all become twice as wide.
const MAX_WINDOWS: u64 = 120;
/// Width at the beginning: a second, because rates are per second.
const FIRST_WIDTH_NS: u64 = 1_000_000_000;
/// The width after this many doublings is longer than any run (17 000 years).
const MAX_DOUBLINGS: u32 = 39;

/// What happened in each window of time; windows without anything are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    doublings: u32,
    /// By number: a window of number n begins at n widths of `CLOCK_MONOTONIC`.
    windows: BTreeMap<u64, Window>,
}

/// What happened in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Answers.
    pub requests: u64,
    /// Of these, with 5xx.
    pub errors: u64,
    /// Requests whose connection ended before a full answer.
    pub aborted: u64,
    /// Latencies of answers below 500, by bucket.
    buckets: BTreeMap<u16, u64>,
}

impl Series {
    /// Counts one exchange at the moment of its end.
    pub(super) fn add(&mut self, exchange: &Exchange) {
        // What is still open has no end to be counted at.
        if exchange.ending == Ending::InFlight {
            return;
        }
        let window = self.window(exchange.end_ns);
        if exchange.ending == Ending::Aborted {
            window.aborted += 1;
            return;
        }
        window.requests += 1;
        if exchange.status / 100 == 5 {
            window.errors += 1;
        } else if let Some(timing) = exchange.timing {
            let bucket = u16::try_from(bucket_of(timing.latency_ns())).unwrap_or(u16::MAX);
            *window.buckets.entry(bucket).or_default() += 1;
        }
    }

    /// Width of each window.
    pub fn width_ns(&self) -> u64 {
        FIRST_WIDTH_NS << self.doublings.min(MAX_DOUBLINGS - 9)
    }

    /// The windows in the order of time, each with its first moment.
    pub fn windows(&self) -> impl Iterator<Item = (u64, &Window)> {
        let width_ns = self.width_ns();
        self.windows.iter().map(move |(number, window)| (number.saturating_mul(width_ns), window))
    }

    /// Adds another's windows, moved by so much in time; to the nearest window.
    pub(super) fn merge(&mut self, other: &Self, shift_ns: i64) {
        let mut other = other.clone();
        while other.doublings < self.doublings {
            other.widen();
        }
        while self.doublings < other.doublings {
            self.widen();
        }
        let width = i128::from(self.width_ns());
        for (number, window) in &other.windows {
            let shifted = (i128::from(*number) * width + i128::from(shift_ns) + width / 2) / width;
            let start_ns = u64::try_from(shifted.max(0) * width).unwrap_or(u64::MAX);
            self.window(start_ns).merge(window);
        }
    }

    fn window(&mut self, ts_ns: u64) -> &mut Window {
        while !self.fits(ts_ns / self.width_ns()) {
            self.widen();
        }
        let number = ts_ns / self.width_ns();
        self.windows.entry(number).or_default()
    }

    fn fits(&self, number: u64) -> bool {
        let end = |end: Option<&u64>| end.copied().unwrap_or(number);
        let (first, last) = (end(self.windows.keys().next()), end(self.windows.keys().next_back()));
        last.max(number) - first.min(number) < MAX_WINDOWS
    }

    fn widen(&mut self) {
        self.doublings += 1;
        for (number, window) in std::mem::take(&mut self.windows) {
            self.windows.entry(number / 2).or_default().merge(&window);
        }
    }
}

impl Window {
    /// The percentile of the latencies, the middle of its bucket; none of nothing.
    pub fn percentile_ns(&self, percentile: Percentile) -> Option<u64> {
        let count = self.buckets.values().fold(0u64, |sum, n| sum.saturating_add(*n));
        let rank = percentile.rank(count);
        let mut seen = 0u64;
        let (bucket, _) = self.buckets.iter().find(|(_, n)| {
            seen = seen.saturating_add(**n);
            seen >= rank
        })?;
        let (low, high) = bounds_of(usize::from(*bucket));
        Some(low + (high - low) / 2)
    }

    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.aborted = self.aborted.saturating_add(other.aborted);
        for (bucket, n) in &other.buckets {
            let sum = self.buckets.entry(*bucket).or_default();
            *sum = sum.saturating_add(*n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::Timing;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn exchange(end_ns: u64, latency_ns: u64, status: u16, ending: Ending) -> Exchange {
        Exchange {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            pid: 1,
            outgoing: None,
            status,
            ending,
            end_ns,
            timing: Some(Timing { app_ns: latency_ns, ..Timing::default() }),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    fn ok(end_ns: u64, latency_ns: u64) -> Exchange {
        exchange(end_ns, latency_ns, 200, Ending::Complete)
    }

    #[test]
    fn each_second_has_its_numbers() {
        let mut series = Series::default();
        for (at, ms, status) in [(5, 10, 200), (5, 20, 200), (6, 1000, 500), (8, 40, 404)] {
            series.add(&exchange(at * S + 7, ms * 1_000_000, status, Ending::Complete));
        }
        series.add(&exchange(8 * S, 1, 0, Ending::Aborted));
        series.add(&exchange(9 * S, 1, 0, Ending::InFlight));
        let seen: Vec<_> = series
            .windows()
            .map(|(start, window)| (start / S, window.requests, window.errors, window.aborted))
            .collect();
        assert_eq!(seen, [(5, 2, 0, 0), (6, 1, 1, 0), (8, 1, 0, 1)]);
        let p95: Vec<_> = series.windows().map(|(_, window)| window.percentile_ns(Percentile::P95)).collect();
        let near = |got: Option<u64>, ms: f64| (got.unwrap() as f64 / 1e6 / ms - 1.0).abs() < 0.0626;
        assert!(near(p95[0], 20.0) && p95[1].is_none() && near(p95[2], 40.0), "{p95:?}");
    }

    proptest! {
        /// However long a run is, the windows are few, and nothing is lost by widening.
        #[test]
        fn windows_are_bounded_and_complete(ends in prop::collection::vec(any::<u64>(), 1..60), near in 0u64..400) {
            let mut series = Series::default();
            for end_ns in ends.iter().copied().chain((0..near).map(|at| at * S)) {
                series.add(&ok(end_ns, 5));
            }
            let requests: u64 = series.windows().map(|(_, window)| window.requests).sum();
            prop_assert_eq!(requests, ends.len() as u64 + near);
            prop_assert!(series.windows().count() as u64 <= MAX_WINDOWS);
        }

        /// Two halves, merged, are the whole.
        #[test]
        fn merged_is_as_if_counted_together(events in prop::collection::vec((0..1000 * S, 1..9 * S, any::<bool>()), 1..100)) {
            let (mut whole, mut a, mut b) = (Series::default(), Series::default(), Series::default());
            for (end_ns, latency_ns, is_a) in events {
                let exchange = ok(end_ns, latency_ns);
                whole.add(&exchange);
                if is_a { a.add(&exchange) } else { b.add(&exchange) }
            }
            a.merge(&b, 0);
            prop_assert_eq!(a, whole);
        }
    }

    #[test]
    fn another_host_s_clock_is_shifted() {
        let (mut a, mut b) = (Series::default(), Series::default());
        a.add(&ok(100 * S, 1));
        b.add(&ok(5000 * S, 1));
        let offset = 4899 * i64::try_from(S).unwrap();
        a.merge(&b, -offset);
        assert_eq!(a.windows().map(|(start, _)| start / S).collect::<Vec<_>>(), [100, 101]);
    }
}
