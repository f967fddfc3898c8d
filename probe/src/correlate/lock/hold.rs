//! Who holds and who held which lock of one database.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::name::{LockName, Slot};
use super::{Owner, Span};
use crate::event::SqlId;

/// Past holds of one slot that are remembered: as many as can matter to a wait between two of its sleeps.
const MAX_PAST: usize = 4096;
/// Holders of one slot at a time that are followed.
const MAX_HOLDERS: usize = 1024;

/// A lock in somebody's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) owner: Owner,
    pub(super) is_write: bool,
    /// When it was granted, or when we first saw it.
    pub(super) since_ns: u64,
    /// It was there when we first looked: it is older than that.
    pub(super) is_older: bool,
    pub(super) traced: bool,
    /// What it is for: the statement that took longest of those that this thread executed since, else the one that took
    /// the lock.
    pub(super) sql: Option<SqlId>,
    /// How long that took, nanoseconds.
    pub(super) work_ns: u64,
}

/// A hold that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) slot: Slot,
    pub(super) hold: Hold,
    pub(super) end_ns: u64,
}

impl Ended {
    pub(super) const fn name(&self) -> LockName {
        self.slot.name(self.hold.is_write)
    }
}

#[derive(Debug, Default)]
struct SlotState {
    /// By process: SQLite's locks belong to processes.
    current: FxHashMap<u32, Hold>,
    past: VecDeque<(Hold, u64)>,
}

/// The holds of one database.
#[derive(Debug, Default)]
pub(super) struct Holds {
    slots: FxHashMap<Slot, SlotState>,
}

impl Holds {
    /// A lock was granted; ends the hold that it replaces. Returns what ended, and whether this is a new hold.
    pub(super) fn grant(&mut self, slot: Slot, hold: Hold) -> (Option<Ended>, bool) {
        let state = self.slots.entry(slot).or_default();
        if state.current.get(&hold.owner.pid).is_some_and(|held| held.is_write == hold.is_write) {
            // Merged with its neighbour, or asked for again.
            return (None, false);
        }
        let ended = end(state, slot, hold.owner.pid, hold.since_ns);
        if state.current.len() < MAX_HOLDERS {
            state.current.insert(hold.owner.pid, hold);
        }
        (ended, true)
    }

    /// A process gave a lock back.
    pub(super) fn release(&mut self, slot: Slot, pid: u32, end_ns: u64) -> Option<Ended> {
        end(self.slots.get_mut(&slot)?, slot, pid, end_ns)
    }

    /// A thread executed a statement, which may be what it holds its locks for.
    pub(super) fn worked(&mut self, owner: Owner, start_ns: u64, sql: SqlId, busy_ns: u64) {
        for state in self.slots.values_mut() {
            if let Some(hold) = state.current.get_mut(&owner.pid)
                && hold.owner == owner
                // Not one that was begun long before, such as a query that is read row by row.
                && hold.since_ns <= start_ns.saturating_add(busy_ns)
                && busy_ns >= hold.work_ns
            {
                (hold.sql, hold.work_ns) = (Some(sql), busy_ns);
            }
        }
    }

    /// What a lock is or was held for since this moment.
    pub(super) fn sql(&self, slot: Slot, owner: Owner, since_ns: u64) -> Option<SqlId> {
        let state = self.slots.get(&slot)?;
        let is_it = |hold: &&Hold| hold.owner == owner && hold.since_ns == since_ns;
        let past = state.past.iter().rev().map(|(hold, _)| hold);
        state.current.values().chain(past).find(is_it)?.sql
    }

    /// What a process holds now.
    pub(super) fn of(&self, slot: Slot, pid: u32) -> Option<&Hold> {
        self.slots.get(&slot)?.current.get(&pid)
    }

    /// This thread has the lock of the one that writes.
    pub(super) fn is_writing(&self, owner: Owner) -> bool {
        let has = |slot| self.of(slot, owner.pid).is_some_and(|hold| hold.is_write && hold.owner == owner);
        has(Slot::Reserved) || has(Slot::WAL_WRITE)
    }

    /// A connection of this process reads in WAL mode.
    pub(super) fn is_reading(&self, pid: u32) -> bool {
        Slot::WAL_READS.into_iter().any(|slot| self.of(slot, pid).is_some())
    }

    /// The holds of this slot, past and present, that stood in the way of this thread within the span.
    pub(super) fn conflicts(
        &self,
        slot: Slot,
        is_write: bool,
        waiter: Owner,
        span: Span,
    ) -> Vec<(Hold, Span)> {
        let Some(state) = self.slots.get(&slot) else { return Vec::new() };
        let past = state.past.iter().rev().take_while(|(_, end_ns)| *end_ns > span.start_ns);
        let past = past.map(|(hold, end_ns)| (*hold, *end_ns));
        let current = state.current.values().map(|hold| (*hold, span.end_ns));
        let mut found: Vec<(Hold, Span)> = past
            .chain(current)
            .filter(|(hold, _)| hold.owner != waiter && (is_write || hold.is_write))
            .filter_map(|(hold, end_ns)| {
                let start_ns = if hold.is_older { 0 } else { hold.since_ns };
                Some((hold, span.overlap(Span { start_ns, end_ns })?))
            })
            .collect();
        found.sort_by_key(|(hold, span)| (span.start_ns, hold.owner));
        found
    }
}

fn end(state: &mut SlotState, slot: Slot, pid: u32, end_ns: u64) -> Option<Ended> {
    let hold = state.current.remove(&pid)?;
    if state.past.len() >= MAX_PAST {
        state.past.pop_front();
    }
    state.past.push_back((hold, end_ns));
    Some(Ended { slot, hold, end_ns })
}
