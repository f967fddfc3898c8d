//! SQLite databases: waits for their locks, and who held them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;
use crate::correlate::lock::LockName;

/// A database that the target used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Database {
    /// Its path.
    pub database: String,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// `wal` or `rollback`.
    pub journal_mode: String,
    /// Another file took its name during the run; that one has an entry of its own.
    pub replaced: bool,
    /// Write transactions of the target that came to their end.
    pub transactions: u64,
    /// Waits for a lock that ended, with the lock or without.
    pub lock_waits: u64,
    /// Write transactions that waited, those that gave up included, among all; null where there were none.
    pub contention_ratio: Option<f64>,
    /// From the first sleep to the end of the last one.
    pub wait_s: Distribution,
    /// The part of waits in which the lock was free but SQLite still slept; of waits with a known holder.
    pub overshoot_s: Distribution,
    /// Sleeps between two attempts at a lock.
    pub attempts: u64,
    /// Waits that ended in `SQLITE_BUSY`.
    pub gave_up: u64,
    /// Waits that were not over when the run or the thread ended, so far.
    pub unfinished_s: Distribution,
    /// The waits by lock.
    pub by_lock: Vec<LockWaits>,
    /// Who held its locks: those first for whom others waited longest.
    pub holders: Vec<Holder>,
    /// Executions of statements, time inside SQLite.
    pub execution_s: Distribution,
    /// By text, those first that took longest in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Statement>,
    /// Waits for a connection that another thread used: not for a lock.
    pub mutex_wait_s: Distribution,
    /// Checkpoints of the WAL by the target's threads.
    pub wal_checkpoints: Checkpoints,
}

/// Waits for one lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWaits {
    /// As SQLite names it.
    pub lock: LockName,
    /// `process`: another thread of the same process was in the way when it began; `system`: another process.
    pub scope: String,
    /// How many.
    pub waits: u64,
    /// How long.
    pub wait_s: Distribution,
}

/// One lock in the hands of one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Its process; 0 for all holders past the bound.
    pub pid: u32,
    /// The thread that was granted the lock; the process where that is not known.
    pub tid: u32,
    /// Name of the thread; null where it is not known.
    pub comm: Option<String>,
    /// It belongs to the target.
    pub in_target: bool,
    /// Which lock.
    pub lock: LockName,
    /// How often it was held.
    pub holds: u64,
    /// How long, where begin and end were seen.
    pub hold_s: Distribution,
    /// How long the target's threads waited for it, all in all.
    pub blocked_s: f64,
    /// The statement behind which they waited longest, without its literals; null where it is not known.
    pub statement: Option<String>,
}

/// A statement, by its text without its literals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Statement {
    /// `?` for each literal.
    pub sql: String,
    /// Executions.
    pub calls: u64,
    /// Rows that they returned.
    pub rows: u64,
    /// Executions that failed, for whatever reason.
    pub errors: u64,
    /// Of these, with `SQLITE_BUSY`, after a wait or at once.
    pub busy: u64,
    /// Of these, without a wait: somebody else has written since the transaction began to read (`SQLITE_BUSY_SNAPSHOT`),
    /// waiting would be a deadlock, or the connection has no timeout.
    pub busy_at_once: u64,
    /// Time inside SQLite for each, preparation included.
    pub duration_s: Distribution,
    /// All of it.
    pub total_s: f64,
    /// Waits for locks in it.
    pub lock_waits: u64,
    /// How long, all in all.
    pub lock_wait_s: f64,
}

/// See [`Database::wal_checkpoints`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoints {
    /// How many.
    pub count: u64,
    /// How long.
    pub duration_s: Distribution,
}
