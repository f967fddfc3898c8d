//! For whom threads waited for the locks of one database, for whom they held them, and who paid for its checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Durations, Resolution};
use crate::correlate::lock::{CheckpointWork, LockName, Owner};
use crate::correlate::work::{Did, For, Work};

/// What is told apart of one database; all else is told together.
const MAX_PARTS: usize = 256;
/// Threads that are told apart of one part.
const MAX_OWNERS: usize = 64;
/// Requests that are remembered, so that each counts once.
const MAX_REMEMBERED: usize = 1 << 14;

/// For whom something was done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Requests of an endpoint.
    Endpoint {
        /// Its name.
        name: Arc<str>,
        /// The thread had read the request itself; else it was of the only endpoint with requests in flight all the time.
        by_reader: bool,
    },
    /// A stage.
    Stage {
        /// Its name.
        name: Arc<str>,
        /// Its number.
        index: Option<u32>,
    },
    /// Nobody knows.
    Unknown,
}

/// What was held, or done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    /// The lock that was held; none for a checkpoint.
    pub lock: Option<LockName>,
    /// The statement, where that is known.
    pub sql: Option<Arc<str>>,
    /// For whom.
    pub whose: Whose,
    /// By a process of the traced tree.
    pub traced: bool,
}

/// How often and how long.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Times.
    pub times: u64,
    /// Nanoseconds.
    pub ns: u64,
    /// Of this, by each thread.
    pub owners: BTreeMap<Owner, u64>,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct BlameStats {
    /// Waits for locks.
    pub waits: BTreeMap<Whose, Sum>,
    /// What others waited behind.
    pub behind: BTreeMap<Deed, Sum>,
    /// Who made the checkpoints.
    pub checkpoints: BTreeMap<Deed, Sum>,
    /// Requests that waited, each counted once.
    pub requests: u64,
    /// Waits of one of several requests: each may be of one that is not counted yet.
    pub doubtful: u64,
    remembered: BTreeSet<u64>,
}

impl BlameStats {
    pub(super) const fn new() -> Self {
        Self {
            waits: BTreeMap::new(),
            behind: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            requests: 0,
            doubtful: 0,
            remembered: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, work: &Work, whose: Whose) {
        match &work.did {
            Did::Waited => {
                if let For::Requests { only, .. } = &work.whose {
                    self.request(*only);
                }
                add(&mut self.waits, whose, Whose::Unknown, work);
            }
            Did::Held { lock, sql, traced } => {
                let traced = *traced;
                let deed = Deed { lock: Some(*lock), sql: sql.clone(), whose, traced };
                let rest = Deed { lock: Some(*lock), sql: None, whose: Whose::Unknown, traced };
                add(&mut self.behind, deed, rest, work);
            }
            Did::Checkpointed { sql } => {
                let deed = Deed { lock: None, sql: sql.clone(), whose, traced: true };
                let rest = Deed { lock: None, sql: None, whose: Whose::Unknown, traced: true };
                add(&mut self.checkpoints, deed, rest, work);
            }
        }
    }

    fn request(&mut self, only: Option<u64>) {
        let Some(number) = only else {
            self.doubtful += 1;
            return;
        };
        self.requests += u64::from(self.remembered.insert(number));
        if self.remembered.len() > MAX_REMEMBERED {
            self.remembered.pop_first();
        }
    }
}

/// Adds to its part, or to the rest where there are too many.
fn add<K: Ord>(parts: &mut BTreeMap<K, Sum>, key: K, rest: K, work: &Work) {
    let key = if parts.len() < MAX_PARTS || parts.contains_key(&key) { key } else { rest };
    let sum = parts.entry(key).or_default();
    sum.times += 1;
    sum.ns = sum.ns.saturating_add(work.ns);
    if sum.owners.len() < MAX_OWNERS || sum.owners.contains_key(&work.owner) {
        let ns = sum.owners.entry(work.owner).or_default();
        *ns = ns.saturating_add(work.ns);
    }
}

/// The checkpoints of a WAL.
#[derive(Clone, Debug)]
pub struct WalStats {
    /// From the lock of the checkpointer granted to given back.
    pub duration: Durations,
    /// Pages written to the database.
    pub pages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Syncing calls.
    pub syncs: u64,
    /// Time inside them, nanoseconds.
    pub sync_ns: u64,
}

impl WalStats {
    pub(super) const fn new() -> Self {
        Self { duration: Durations::new(Resolution::Coarse), pages: 0, bytes: 0, syncs: 0, sync_ns: 0 }
    }

    pub(super) fn add(&mut self, took_ns: u64, work: &CheckpointWork) {
        self.duration.record(took_ns);
        self.pages = self.pages.saturating_add(work.pages);
        self.bytes = self.bytes.saturating_add(work.bytes);
        self.syncs = self.syncs.saturating_add(work.syncs);
        self.sync_ns = self.sync_ns.saturating_add(work.sync_ns);
    }
}
