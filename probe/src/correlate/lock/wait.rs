//! One wait of one thread: from its first sleep in SQLite to the end of its last one in the same call.

use super::Span;
use super::name::{LockName, Slot};

/// What SQLite's busy handler asks for, attempt after attempt, milliseconds (`sqliteDefaultBusyCallback`); the last one
/// is repeated, and the sleep that would exceed the timeout is cut.
const DELAYS_MS: [u64; 12] = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];
/// Builds without a fine sleep ask for whole seconds.
const COARSE_MS: u64 = 1000;
/// Between two sleeps of one wait there is one attempt, however long the thread had no core for it; a pause this long is
/// the application's.
const MAX_PAUSE_NS: u64 = 5_000_000_000;
/// A lock that comes this long after a timeout's last sleep is another call's.
pub(super) const LATE_NS: u64 = 50_000_000;

const NS_PER_MS: u64 = 1_000_000;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// It got the lock.
    Got,
    /// SQLite gave up: the application got `SQLITE_BUSY`.
    GaveUp,
    /// The run, or the thread, ended first.
    Open,
}

/// What a sleep waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) database: usize,
    /// The slot and whether it was to be locked exclusively; none where that cannot be told.
    pub(super) lock: Option<(Slot, bool)>,
    /// The kernel refused it: the holder is another process. Else SQLite decided on its own.
    pub(super) was_refused: bool,
}

impl Awaited {
    pub(super) fn name(&self) -> LockName {
        self.lock.map_or(LockName::Unknown, |(slot, is_write)| slot.name(is_write))
    }
}

/// How the delays between attempts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// As in [`DELAYS_MS`].
    Slower,
    /// Every millisecond, as in builds with `SQLITE_ENABLE_SETLK_TIMEOUT`.
    Even,
}

/// A wait under way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) span: Span,
    pub(super) attempts: u64,
    /// Of its first sleep.
    pub(super) awaited: Awaited,
    /// Position in [`DELAYS_MS`].
    position: usize,
    /// Its last sleep was shorter than the table says: the timeout is near.
    was_cut: bool,
    pace: Pace,
    /// A lock was refused again since the last sleep.
    pub(super) refused_again: bool,
    /// A lock was granted since the last sleep.
    pub(super) granted: bool,
}

impl Waiting {
    pub(super) fn begin(span: Span, requested_ns: u64, awaited: Awaited) -> Self {
        let requested_ms = requested_ns / NS_PER_MS;
        let position = DELAYS_MS.iter().position(|delay| *delay >= requested_ms);
        Self {
            span,
            attempts: 1,
            awaited,
            position: position.unwrap_or(DELAYS_MS.len() - 1),
            was_cut: position.is_some_and(|at| DELAYS_MS[at] != requested_ms),
            pace: Pace::Slower,
            refused_again: false,
            granted: false,
        }
    }

    /// Adds a sleep if it belongs to this wait: the next one of the table, or a shorter one that ends it. A first
    /// delay is another wait's.
    pub(super) fn extend(&mut self, span: Span, requested_ns: u64) -> bool {
        let requested_ms = requested_ns / NS_PER_MS;
        let pause_ns = span.start_ns.saturating_sub(self.span.end_ns);
        // The same lock was refused and the first delay is asked for again: no other handler does that.
        let may_poll = self.pace == Pace::Even || self.attempts == 1;
        if may_poll && requested_ms == DELAYS_MS[0] && self.refused_again && pause_ns < LATE_NS {
            self.pace = Pace::Even;
            self.add(span);
            return true;
        }
        let next = (self.position + 1).min(DELAYS_MS.len() - 1);
        let is_next = requested_ms == COARSE_MS
            || requested_ms == DELAYS_MS[next]
            || (requested_ms < DELAYS_MS[next] && requested_ms != DELAYS_MS[0]);
        if !is_next || self.was_cut || pause_ns > MAX_PAUSE_NS {
            return false;
        }
        self.was_cut = requested_ms < DELAYS_MS[next];
        self.position = next;
        self.add(span);
        true
    }

    /// A sleep of this length is the next one of its row, and cannot be the first one of another.
    pub(super) fn is_next(&self, requested_ns: u64) -> bool {
        let requested_ms = requested_ns / NS_PER_MS;
        let next = (self.position + 1).min(DELAYS_MS.len() - 1);
        let is_in_row = requested_ms > DELAYS_MS[0] && requested_ms <= DELAYS_MS[next];
        is_in_row && self.pace == Pace::Slower && !self.was_cut
    }

    fn add(&mut self, span: Span) {
        self.span.end_ns = span.end_ns;
        self.attempts += 1;
        self.refused_again = false;
        self.granted = false;
    }

    /// It got the lock, or the next call of its thread did, at this moment.
    pub(super) fn end_at_grant(&self, now_ns: u64) -> WaitEnd {
        let is_late = self.was_cut && now_ns > self.span.end_ns.saturating_add(LATE_NS);
        if self.refused_again || is_late { WaitEnd::GaveUp } else { WaitEnd::Got }
    }

    /// Nothing more was seen of it: how did it end?
    pub(super) fn end_unseen(&self) -> WaitEnd {
        if self.refused_again || self.awaited.name().is_sole() {
            // Getting such a lock would have been seen.
            return WaitEnd::GaveUp;
        }
        if self.was_cut && !self.granted { WaitEnd::GaveUp } else { WaitEnd::Got }
    }

    /// Another sleep may be under way.
    pub(super) const fn may_go_on(&self) -> bool {
        !self.granted && !self.was_cut
    }

    pub(super) const fn is_over(&self, now_ns: u64) -> bool {
        now_ns > self.span.end_ns.saturating_add(MAX_PAUSE_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAITED: Awaited = Awaited { database: 0, lock: None, was_refused: false };

    fn at(ms: u64) -> Span {
        Span { start_ns: ms * NS_PER_MS, end_ns: (ms + 1) * NS_PER_MS }
    }

    /// The sequence of a timeout of 5 s is one wait, to the cut sleep at its end; what follows is another.
    #[test]
    fn a_whole_timeout_is_one_wait() {
        let mut now = 0;
        let mut wait = Waiting::begin(at(0), NS_PER_MS, AWAITED);
        let hundreds = std::iter::repeat_n(&100, 45);
        for delay in DELAYS_MS[1..].iter().chain(hundreds).chain([&72]) {
            now += delay;
            assert!(wait.extend(at(now), delay * NS_PER_MS), "{delay}");
        }
        assert_eq!(wait.attempts, 12 + 45 + 1);
        assert!(!wait.extend(at(now + 1), 100 * NS_PER_MS), "after the cut sleep SQLite gives up");
        assert_eq!(wait.end_unseen(), WaitEnd::GaveUp);
        assert_eq!(wait.end_at_grant(wait.span.end_ns + NS_PER_MS), WaitEnd::Got, "just in time");
        assert_eq!(wait.end_at_grant(wait.span.end_ns + 60 * NS_PER_MS), WaitEnd::GaveUp);
    }

    /// A build that asks every millisecond: one wait as long as the lock is refused.
    #[test]
    fn a_poll_is_one_wait() {
        let mut wait = Waiting::begin(at(0), NS_PER_MS, AWAITED);
        for now in 1..400 {
            wait.refused_again = true;
            assert!(wait.extend(at(now), NS_PER_MS), "{now}");
        }
        assert_eq!((wait.attempts, wait.span.ns()), (400, 400 * NS_PER_MS));
        assert!(!wait.extend(at(400), NS_PER_MS), "not refused: another one");
        wait.refused_again = true;
        assert!(!wait.extend(at(500), NS_PER_MS), "long after");
        let mut usual = Waiting::begin(at(0), NS_PER_MS, AWAITED);
        assert!(usual.extend(at(2), 2 * NS_PER_MS));
        usual.refused_again = true;
        assert!(!usual.extend(at(5), NS_PER_MS), "one that went up does not go down");
    }

    #[test]
    fn a_first_delay_begins_another_wait() {
        let mut wait = Waiting::begin(at(0), NS_PER_MS, AWAITED);
        assert!(!wait.extend(at(2), NS_PER_MS));
        assert!(!wait.extend(at(2), 5 * NS_PER_MS), "one attempt is missing");
        assert!(!wait.extend(at(6000), 2 * NS_PER_MS), "too long ago");
        assert!(wait.extend(at(2), 2 * NS_PER_MS));
        assert_eq!(wait.end_unseen(), WaitEnd::Got);
    }
}
