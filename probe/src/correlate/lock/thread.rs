//! A thread that uses databases, and a write transaction under way.

use super::DatabaseId;
use super::blame::Wait;
use super::ending::Granted;
use super::wait::Awaited;

/// Databases of a thread that are remembered, the last used first.
const MAX_OF_THREAD: usize = 8;

/// A write transaction under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transaction {
    pub(super) waited_ns: u64,
    /// No transaction: the lock was taken to rebuild the WAL's index.
    pub(super) is_recovery: bool,
    /// Its process read when it got the lock.
    pub(super) has_read: bool,
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) pid: u32,
    /// The last used one first.
    pub(super) databases: Vec<DatabaseId>,
    /// When it was.
    pub(super) used_ns: u64,
    pub(super) refused: Option<(u64, Awaited)>,
    pub(super) wait: Option<Wait>,
    /// A wait that got its lock just now.
    pub(super) granted: Option<Granted>,
    /// Since when it had the writer's lock of a WAL that it gave back last.
    pub(super) wrote_since_ns: u64,
}

impl Thread {
    pub(super) const fn new(pid: u32) -> Self {
        Self {
            pid,
            databases: Vec::new(),
            used_ns: 0,
            refused: None,
            wait: None,
            granted: None,
            wrote_since_ns: 0,
        }
    }

    pub(super) fn used(&mut self, database: DatabaseId, now_ns: u64) {
        self.used_ns = now_ns;
        if self.databases.first() != Some(&database) {
            self.databases.retain(|id| *id != database);
            self.databases.insert(0, database);
            self.databases.truncate(MAX_OF_THREAD);
        }
    }
}
