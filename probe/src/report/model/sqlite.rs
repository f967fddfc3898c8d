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
    /// The waits by whose they were; longest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_whom: Vec<WaitsOf>,
    /// Requests with a wait among all; null where none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_request: Option<RequestWaits>,
    /// What was waited behind: those first for which it took longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Deed>,
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
    /// Of these, certainly with `SQLITE_BUSY_SNAPSHOT`: the writer's lock was granted and given back in the same call.
    #[serde(default)]
    pub busy_snapshot: u64,
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoints {
    /// How many.
    pub count: u64,
    /// How long.
    pub duration_s: Distribution,
    /// Pages written to the database.
    #[serde(default)]
    pub pages: u64,
    /// Bytes of them.
    #[serde(default)]
    pub bytes: u64,
    /// Syncing calls, of the WAL and of the database.
    #[serde(default)]
    pub fsyncs: u64,
    /// Time inside these, all in all.
    #[serde(default)]
    pub fsync_s: f64,
    /// Who made them: those first that took longest in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paid_by: Vec<Deed>,
}

/// For whom a thread did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Whose {
    /// `endpoint` or `stage`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Number of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// How that is known. `thread`: the thread had read the request itself. `only_in_flight`: all requests that were in
    /// flight in its process all the time were of this endpoint. `checkpoint`: the thread put this stage's checkpoint in
    /// place next.
    pub joined_by: String,
}

/// See [`Database::by_whom`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitsOf {
    /// Null where it cannot be told.
    pub whose: Option<Whose>,
    /// How many.
    pub waits: u64,
    /// How long, all in all.
    pub wait_s: f64,
}

/// See [`Database::by_request`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestWaits {
    /// Requests that the target served.
    pub requests: u64,
    /// Of these, known to have waited for a lock of this database.
    pub waited: u64,
    /// And with all those that may have: several were in flight during a wait.
    pub waited_at_most: u64,
    /// `waited` among `requests`.
    pub contention_ratio: f64,
}

/// What one or more threads did for somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deed {
    /// The lock that was held; null for a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockName>,
    /// The statement without its literals; null where it is not known.
    pub statement: Option<String>,
    /// For whom; null where it cannot be told.
    pub whose: Option<Whose>,
    /// By the target.
    pub in_target: bool,
    /// How often: waits behind it, or checkpoints.
    pub times: u64,
    /// How long, all in all: the waits behind it, or the checkpoints.
    pub total_s: f64,
    /// How many threads; at most 64.
    pub threads: u64,
    /// The one that took longest: its process.
    pub pid: u32,
    /// The thread; the process where that is not known.
    pub tid: u32,
    /// Its name; null where it is not known.
    pub comm: Option<String>,
}
