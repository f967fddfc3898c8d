//! When threads waited for locks of SQLite: windows that double in width as the run goes on.

use std::collections::BTreeMap;

/// From the first window to the last; with one more, all become twice as wide.
const MAX_WINDOWS: u64 = 120;
/// Width at the beginning: half a second, as long as a wait that hurts.
const FIRST_WIDTH_NS: u64 = 500_000_000;

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct LockWaits {
    width_ns: u64,
    /// By number: a window of number n begins at n widths of `CLOCK_MONOTONIC`.
    windows: BTreeMap<u64, LockWindow>,
}

/// The waits of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockWindow {
    /// Waits that ended in it.
    pub ended: u64,
    /// The longest of these, nanoseconds.
    pub longest_ns: u64,
    /// Time in it that was waited, of all waits together, nanoseconds.
    pub waited_ns: u64,
}

impl Default for LockWaits {
    fn default() -> Self {
        Self { width_ns: FIRST_WIDTH_NS, windows: BTreeMap::new() }
    }
}

impl LockWaits {
    /// Counts a wait from one moment to another: its time where it was spent, the rest where it ended.
    pub(super) fn add(&mut self, start_ns: u64, end_ns: u64) {
        let start_ns = start_ns.min(end_ns);
        while !self.fits(start_ns) || !self.fits(end_ns) || self.numbers(start_ns, end_ns) > MAX_WINDOWS {
            self.widen();
        }
        for number in start_ns / self.width_ns..=end_ns / self.width_ns {
            let begins_ns = number.saturating_mul(self.width_ns);
            let ends_ns = begins_ns.saturating_add(self.width_ns);
            let waited_ns = end_ns.min(ends_ns).saturating_sub(start_ns.max(begins_ns));
            let window = self.windows.entry(number).or_default();
            window.waited_ns = window.waited_ns.saturating_add(waited_ns);
        }
        let last = self.windows.entry(end_ns / self.width_ns).or_default();
        last.ended += 1;
        last.longest_ns = last.longest_ns.max(end_ns - start_ns);
    }

    /// Width of each window.
    pub const fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// The windows with waits in the order of time, each with its first moment.
    pub fn windows(&self) -> impl Iterator<Item = (u64, LockWindow)> {
        self.windows.iter().map(|(number, window)| (number.saturating_mul(self.width_ns), *window))
    }

    /// How many windows a wait goes through.
    const fn numbers(&self, start_ns: u64, end_ns: u64) -> u64 {
        end_ns / self.width_ns - start_ns / self.width_ns + 1
    }

    fn fits(&self, ts_ns: u64) -> bool {
        let number = ts_ns / self.width_ns;
        let first = self.windows.first_key_value().map_or(number, |(first, _)| *first).min(number);
        let last = self.windows.last_key_value().map_or(number, |(last, _)| *last).max(number);
        last - first < MAX_WINDOWS
    }

    fn widen(&mut self) {
        self.width_ns = self.width_ns.saturating_mul(2);
        for (number, window) in std::mem::take(&mut self.windows) {
            let wide = self.windows.entry(number / 2).or_default();
            wide.ended += window.ended;
            wide.longest_ns = wide.longest_ns.max(window.longest_ns);
            wide.waited_ns = wide.waited_ns.saturating_add(window.waited_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF: u64 = FIRST_WIDTH_NS;

    #[test]
    fn time_counts_where_it_was_spent_and_the_wait_where_it_ended() {
        let mut waits = LockWaits::default();
        waits.add(HALF / 2, 2 * HALF + 7);
        waits.add(2 * HALF + 1, 2 * HALF + 2);
        let windows: Vec<_> = waits.windows().collect();
        let window = |ended, longest_ns, waited_ns| LockWindow { ended, longest_ns, waited_ns };
        assert_eq!(
            windows,
            [
                (0, window(0, 0, HALF / 2)),
                (HALF, window(0, 0, HALF)),
                (2 * HALF, window(2, HALF + HALF / 2 + 7, 8))
            ]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_memory_is_bounded(all in prop::collection::vec((0u64..1 << 50, 0u64..1 << 40), 0..60)) {
            let mut waits = LockWaits::default();
            for (start_ns, length_ns) in &all {
                waits.add(*start_ns, start_ns + length_ns);
            }
            let windows: Vec<LockWindow> = waits.windows().map(|(_, window)| window).collect();
            prop_assert!(windows.len() as u64 <= MAX_WINDOWS);
            prop_assert_eq!(windows.iter().map(|window| window.ended).sum::<u64>(), all.len() as u64);
            let longest = all.iter().map(|(_, length_ns)| *length_ns).max().unwrap_or(0);
            prop_assert_eq!(windows.iter().map(|window| window.longest_ns).max().unwrap_or(0), longest);
            let waited = all.iter().map(|(_, length_ns)| *length_ns).sum::<u64>();
            prop_assert_eq!(windows.iter().map(|window| window.waited_ns).sum::<u64>(), waited);
        }

        #[test]
        fn any_moments_are_taken(all in prop::collection::vec(any::<(u64, u64)>(), 0..20)) {
            let mut waits = LockWaits::default();
            for (start_ns, end_ns) in all {
                waits.add(start_ns, end_ns);
            }
            prop_assert!(waits.windows().count() as u64 <= MAX_WINDOWS);
        }
    }
}
