//! Waits for SQLite's locks, and who held them. Pure.
//!
//! A lock that the kernel refused names itself. Where SQLite decided within its process no call was made: there the
//! lock is the one that another thread of the process had been granted when the sleep began.

mod blame;
mod board;
mod ending;
mod hold;
mod name;
mod statement;
mod thread;
mod wait;

pub use board::LockBoard;
pub use name::LockName;
pub use wait::WaitEnd;

use std::sync::Arc;

/// A database of this run, by number.
pub type DatabaseId = usize;

/// A thread that holds or held a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its process, whose the lock is.
    pub pid: u32,
    /// The thread that was granted it; the process where that is not known.
    pub tid: u32,
}

/// From a moment to a later one, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
}

impl Span {
    /// Its length.
    pub const fn ns(self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// What both have in common.
    fn overlap(self, other: Self) -> Option<Self> {
        let start_ns = self.start_ns.max(other.start_ns);
        let end_ns = self.end_ns.min(other.end_ns);
        (start_ns < end_ns).then_some(Self { start_ns, end_ns })
    }
}

/// What a checkpoint of a WAL did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointWork {
    /// Pages written.
    pub pages: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Syncing calls.
    pub syncs: u64,
    /// Time inside them, nanoseconds.
    pub sync_ns: u64,
    /// The statement that made it.
    pub sql: Option<Arc<str>>,
}

/// Where the holder of an awaited lock was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The kernel refused it because of another process.
    Processes,
    /// SQLite refused it within the process.
    Threads,
}

/// A wait for a lock, as [`crate::correlate`] hands it on.
#[derive(Clone, Debug, PartialEq)]
pub struct LockWait {
    /// Of which database.
    pub database: DatabaseId,
    /// The waiting thread.
    pub waiter: Owner,
    /// Which lock.
    pub lock: LockName,
    /// Between processes or within one.
    pub scope: Scope,
    /// The statement that waited, where that is known.
    pub sql: Option<Arc<str>>,
    /// First sleep to end of the last one.
    pub span: Span,
    /// Sleeps.
    pub attempts: u64,
    /// How it ended.
    pub end: WaitEnd,
    /// Slept although the lock was free, nanoseconds; none where no holder was seen.
    pub overshoot_ns: Option<u64>,
    /// Who held it.
    pub blockers: Vec<Blocker>,
}

/// Somebody behind whom a thread waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Who.
    pub owner: Owner,
    /// Which lock was in the way.
    pub lock: LockName,
    /// The process belongs to the traced tree.
    pub traced: bool,
    /// For how much of the wait, nanoseconds.
    pub blocked_ns: u64,
    /// It held it since when, and until when that was in the way.
    pub held: Span,
    /// What it held the lock for, where that is known.
    pub sql: Option<Arc<str>>,
}

/// What is known of the locks of a database.
#[derive(Clone, Debug, PartialEq)]
pub enum LockFinding {
    /// A database was seen; its numbers begin at 0 and have no gaps.
    Database {
        /// Its path.
        path: String,
    },
    /// It is in WAL mode.
    Wal {
        /// Which.
        database: DatabaseId,
    },
    /// A thread that may hold locks.
    Name {
        /// Thread id.
        tid: u32,
        /// Its name.
        comm: String,
    },
    /// A wait is over.
    Wait(LockWait),
    /// A hold is over.
    Hold {
        /// Of which database.
        database: DatabaseId,
        /// Which lock.
        lock: LockName,
        /// Who had it.
        owner: Owner,
        /// The process belongs to the traced tree.
        traced: bool,
        /// Its length; none when its begin was not seen.
        held_ns: Option<u64>,
        /// What it was held for: the statement that took longest meanwhile, where that is known.
        sql: Option<Arc<str>>,
    },
    /// A write transaction of the tree is over.
    Transaction {
        /// Of which database.
        database: DatabaseId,
        /// How long it waited for locks, all in all, nanoseconds.
        waited_ns: u64,
    },
    /// The execution of a statement is over.
    Statement {
        /// Of which database.
        database: DatabaseId,
        /// Without its literals; none for one that was prepared before we looked.
        sql: Option<Arc<str>>,
        /// Time inside SQLite, nanoseconds.
        busy_ns: u64,
        /// Rows that it returned.
        rows: u32,
        /// As [`crate::event::SqliteStatement::code`].
        code: i32,
        /// It failed with `SQLITE_BUSY` and had not waited: somebody else has written since its transaction began to
        /// read (`SQLITE_BUSY_SNAPSHOT`), waiting would be a deadlock, or the connection has no timeout.
        is_busy_at_once: bool,
        /// And of these the first is certain: it had the writer's lock of the WAL, and gave it back in the same call.
        is_snapshot: bool,
    },
    /// A thread waited for a connection that another one used.
    Mutex {
        /// Of which database.
        database: DatabaseId,
        /// How long, nanoseconds.
        waited_ns: u64,
    },
    /// A checkpoint of the WAL is over.
    Checkpoint {
        /// Of which database.
        database: DatabaseId,
        /// Who did it.
        owner: Owner,
        /// Its lock granted to given back.
        span: Span,
        /// What was done; nothing where that is not known.
        work: CheckpointWork,
    },
}

impl LockFinding {
    /// It says what something is, not what happened.
    pub const fn is_identity(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Wal { .. } | Self::Name { .. })
    }
}

#[cfg(test)]
mod tests;
