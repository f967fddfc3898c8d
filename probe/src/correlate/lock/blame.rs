//! Who stood in the way of a wait, and which lock that was.

use std::collections::BTreeMap;

use super::board::Database;
use super::hold::Holds;
use super::name::Slot;
use super::wait::{Awaited, Waiting};
use super::{Owner, Span};
use crate::event::SqlId;

/// A hold that keeps somebody waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct InTheWay {
    /// Its process is of the traced tree.
    pub(super) traced: bool,
    /// For how much of the wait, nanoseconds.
    pub(super) blocked_ns: u64,
    /// The last moment of that.
    pub(super) until_ns: u64,
}

/// A wait under way, and who was to blame for it so far.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) waiting: Waiting,
    /// The statement that waits.
    pub(super) sql: Option<SqlId>,
    /// By holder, lock and begin.
    pub(super) blockers: BTreeMap<(Owner, Slot, bool, u64), InTheWay>,
    /// Part of it in which somebody held the lock, nanoseconds.
    pub(super) covered_ns: u64,
}

/// Which lock of a database keeps this thread waiting, if another thread of its process has it.
pub(super) fn awaited_in(holds: &Holds, waiter: Owner, span: Span) -> Option<(Slot, bool)> {
    // Having PENDING it waits for the readers to leave.
    if holds.of(Slot::Pending, waiter.pid).is_some_and(|hold| hold.is_write && hold.owner == waiter) {
        return Some((Slot::Shared, true));
    }
    let candidates = [
        (Slot::WAL_WRITE, true),
        (Slot::Shared, false),
        (Slot::Pending, false),
        (Slot::Reserved, true),
        (Slot::WAL_RECOVER, true),
        (Slot::WAL_CKPT, true),
    ];
    let is_held = |(slot, is_write): &(Slot, bool)| {
        let in_the_way = holds.conflicts(*slot, *is_write, waiter, span);
        in_the_way.iter().any(|(hold, _)| hold.owner.pid == waiter.pid)
    };
    candidates.into_iter().find(is_held)
}

/// Adds to a wait who held the lock within a part of it.
pub(super) fn account(
    databases: &[Database],
    wait: &mut Wait,
    waiter: Owner,
    awaited: Option<Awaited>,
    span: Span,
) {
    let first = wait.waiting.awaited;
    let awaited = awaited.filter(|awaited| awaited.lock.is_some()).unwrap_or(first);
    let Some((slot, is_write)) = awaited.lock else { return };
    let mut covered_to = span.start_ns;
    for (hold, held) in databases[awaited.database].holds.conflicts(slot, is_write, waiter, span) {
        let blocker = (hold.owner, slot, hold.is_write, hold.since_ns);
        let new = InTheWay { traced: hold.traced, blocked_ns: 0, until_ns: 0 };
        let known = wait.blockers.entry(blocker).or_insert(new);
        known.blocked_ns += held.ns();
        known.until_ns = known.until_ns.max(held.end_ns);
        wait.covered_ns += held.end_ns.saturating_sub(held.start_ns.max(covered_to));
        covered_to = covered_to.max(held.end_ns);
    }
}
