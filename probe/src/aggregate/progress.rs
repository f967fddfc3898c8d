//! Where a run stands, for the live line: cheap to take, never part of the report.

use super::stats::EndpointStats;
use crate::profile::Percentile;

/// The rate is taken over this many whole seconds before the current one.
const WINDOW_S: u64 = 2;
/// The window, the second that is still running, and one for stragglers.
const N_SLOTS: usize = 4;
const NS_PER_S: u64 = 1_000_000_000;

/// A snapshot of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Answers so far.
    pub requests: u64,
    /// Answers per second over the last two whole seconds.
    pub rate_per_s: f64,
    /// 95th percentile of the latency so far, seconds; none before the first request.
    pub latency_p95_s: Option<f64>,
    /// Answers with 5xx so far.
    pub errors: u64,
    /// Aborted requests so far.
    pub aborted: u64,
}

impl Progress {
    pub(super) fn new(overall: &EndpointStats, recent: &RecentRate, now_ns: u64) -> Self {
        Self {
            requests: overall.requests,
            rate_per_s: recent.per_s(now_ns),
            latency_p95_s: overall
                .latency
                .percentile_ns(Percentile::P95)
                .map(|ns| ns as f64 / NS_PER_S as f64),
            errors: overall.errors,
            aborted: overall.aborted,
        }
    }
}

/// Answers of the last seconds, one slot each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecentRate {
    /// (second, answers in it)
    slots: [(u64, u64); N_SLOTS],
}

impl RecentRate {
    pub(super) fn add(&mut self, ts_ns: u64) {
        let second = ts_ns / NS_PER_S;
        let slot = &mut self.slots[usize::try_from(second).unwrap_or_default() % N_SLOTS];
        if slot.0 < second {
            *slot = (second, 0);
        }
        // A straggler from a second that has lost its slot is too old to matter.
        if slot.0 == second {
            slot.1 += 1;
        }
    }

    fn per_s(&self, now_ns: u64) -> f64 {
        let now = now_ns / NS_PER_S;
        let window = now.saturating_sub(WINDOW_S)..now;
        let count: u64 =
            self.slots.iter().filter(|(second, _)| window.contains(second)).map(|(_, n)| n).sum();
        count as f64 / WINDOW_S as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_last_two_seconds() {
        let mut recent = RecentRate::default();
        for second in 100..110 {
            for n in 0..second {
                recent.add(second * NS_PER_S + n);
            }
        }
        let is = |now_s, rate: f64| (recent.per_s(now_s * NS_PER_S) - rate).abs() < 1e-9;
        assert!(is(110, 108.5), "seconds 108 and 109");
        assert!(is(111, 54.5), "second 109 and nothing");
        assert!(is(120, 0.0), "traffic that stopped has no rate");
    }
}
