//! The driver's time stamps as times of the run.
//!
//! The driver stamps its samples in microseconds of "CPU time", which is the time since 1970 with all drivers that
//! we know of, but is nowhere promised. So the clock is told by looking: it is the one that the newest of the
//! first samples is nearest to.

use nix::time::{ClockId, clock_gettime};

use crate::event::Busy;

/// A sample says nothing about more than this before it (NVML: "between 1 second and 1/6 second").
const LONGEST_PERIOD_NS: u64 = 1_000_000_000;

/// One moment on each of the clocks that a driver might use, nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    /// The run's clock first.
    pub(super) monotonic_ns: u64,
    others_ns: [u64; 2],
}

impl Now {
    pub(super) fn read() -> Self {
        let ns = |clock| {
            // Fails only for clocks that do not exist.
            clock_gettime(clock).map_or(0, |time| {
                u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                    + u64::try_from(time.tv_nsec()).unwrap_or(0)
            })
        };
        Self {
            monotonic_ns: ns(ClockId::CLOCK_MONOTONIC),
            others_ns: [ns(ClockId::CLOCK_REALTIME), ns(ClockId::CLOCK_BOOTTIME)],
        }
    }

    /// CPU time of the calling thread, nanoseconds.
    pub(super) fn own_cpu_ns() -> u64 {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| {
            u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(time.tv_nsec()).unwrap_or(0)
        })
    }

    fn clocks(&self) -> [u64; 3] {
        [self.others_ns[0], self.others_ns[1], self.monotonic_ns]
    }
}

/// Where the reading of one buffer of samples stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Samples {
    /// Index into [`Now::clocks`].
    clock: Option<usize>,
    /// Stamp of the newest sample, for the driver: it tells only what came after it. 0 before the first.
    pub(super) last_us: u64,
    /// Up to here the time is covered; none before the first look.
    to_ns: Option<u64>,
}

impl Samples {
    /// The times that new samples speak of. The first call only finds out where the buffer stands: what it holds
    /// is of a time before the run.
    pub(super) fn take(&mut self, samples: &[(u64, u8)], now: Now) -> Vec<Busy> {
        let mut new: Vec<(u64, u8)> =
            samples.iter().copied().filter(|(at_us, _)| *at_us > self.last_us).collect();
        new.sort_unstable_by_key(|(at_us, _)| *at_us);
        let newest_us = new.last().map(|(at_us, _)| *at_us);
        if let Some(newest_us) = newest_us {
            self.last_us = newest_us;
            self.clock.get_or_insert_with(|| nearest(newest_us, now));
        }
        let Some(mut covered_ns) = self.to_ns else {
            self.to_ns = Some(now.monotonic_ns);
            return Vec::new();
        };
        let clock_ns = now.clocks()[self.clock.unwrap_or_default()];
        let mut found = Vec::new();
        for (at_us, percent) in new {
            let age_ns = clock_ns.saturating_sub(at_us.saturating_mul(1000));
            let to_ns = now.monotonic_ns.saturating_sub(age_ns);
            let from_ns = covered_ns.max(to_ns.saturating_sub(LONGEST_PERIOD_NS));
            if to_ns > from_ns {
                found.push(Busy(from_ns, to_ns, percent.min(100)));
                covered_ns = to_ns;
            }
        }
        self.to_ns = Some(covered_ns);
        found
    }
}

fn nearest(at_us: u64, now: Now) -> usize {
    let off = |clock_ns: u64| clock_ns.abs_diff(at_us.saturating_mul(1000));
    let clocks = now.clocks().into_iter().enumerate();
    clocks.min_by_key(|(_, clock_ns)| off(*clock_ns)).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn now(monotonic_ns: u64) -> Now {
        Now {
            monotonic_ns,
            others_ns: [1_700_000_000 * SECOND + monotonic_ns, 5_000 * SECOND + monotonic_ns],
        }
    }

    /// Stamps of any of the three clocks mean the same times; the first look's samples are of the time before.
    #[test]
    fn any_clock() {
        for offset_us in [1_700_000_000_000_000, 5_000_000_000, 0] {
            let mut samples = Samples::default();
            let at = |ms: u64| offset_us + ms * 1000;
            assert_eq!(samples.take(&[(at(9_800), 70), (at(9_900), 80)], now(10 * SECOND)), []);
            assert_eq!(samples.last_us, at(9_900));
            let found =
                samples.take(&[(at(10_050), 20), (at(9_900), 80), (at(10_100), 101)], now(10_110_000_000));
            let expected = [Busy(10 * SECOND, 10_050_000_000, 20), Busy(10_050_000_000, 10_100_000_000, 100)];
            assert_eq!(found, expected, "{offset_us}");
        }
    }

    /// A buffer that was empty at first is read from the first look on, and a sample speaks of a second at most.
    #[test]
    fn a_pause_is_not_covered() {
        let mut samples = Samples::default();
        assert_eq!(samples.take(&[], now(SECOND)), []);
        let at = |ms: u64| 1_700_000_000_000_000 + ms * 1000;
        assert_eq!(samples.take(&[(at(9_000), 50)], now(9_100_000_000)), [Busy(8 * SECOND, 9 * SECOND, 50)]);
    }

    proptest! {
        /// Whatever a driver says, times follow one another, none is in the future, and no percentage is above 100.
        #[test]
        fn times_follow_one_another(
            looks in prop::collection::vec(prop::collection::vec(any::<(u64, u8)>(), 0..8), 1..8),
            near: bool,
        ) {
            let mut samples = Samples::default();
            let mut covered_ns = 0;
            for (n, look) in (1u64..).zip(looks) {
                let now = now(n * 100_000_000);
                let stamp = |us: u64| if near { 1_700_000_000_000_000 + us % 1_000_000 } else { us };
                let look: Vec<_> = look.into_iter().map(|(us, percent)| (stamp(us), percent)).collect();
                for Busy(from_ns, to_ns, percent) in samples.take(&look, now) {
                    prop_assert!(covered_ns <= from_ns && from_ns < to_ns && to_ns <= now.monotonic_ns);
                    prop_assert!(percent <= 100 && to_ns - from_ns <= LONGEST_PERIOD_NS);
                    covered_ns = to_ns;
                }
            }
        }
    }
}
