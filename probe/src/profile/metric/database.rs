//! What is measured of a SQLite database.

use super::{Quantity, Shape, Unit};

const fn duration(name: &'static str, sample: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Durations, sample, higher_is_better: false }
}

const fn count(name: &'static str, sample: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Value(Unit::Count), sample, higher_is_better: false }
}

/// Names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // Of those statements that waited for a lock: from SQLite's first sleep to the end of its last one.
    duration("wait", "wait"),
    // The part of waits in which the lock was free but SQLite still slept; of waits with a known holder.
    duration("overshoot", "wait"),
    // Write transactions that waited for a lock or gave up, among all.
    Quantity { name: "contention", shape: Shape::Share, sample: "transaction", higher_is_better: false },
    // Requests that waited for a lock, among all; where several can have, the verdict must hold for all of them and none.
    Quantity { name: "request_contention", shape: Shape::Share, sample: "request", higher_is_better: false },
    // Waits for a lock that ended in SQLITE_BUSY.
    count("gave_up", "transaction"),
    // Executions of statements: time inside SQLite.
    duration("statement", "execution"),
    // Waits for a connection that another thread used.
    duration("mutex_wait", "wait"),
    // Checkpoints of the WAL.
    duration("wal_checkpoint", "checkpoint"),
];
