//! The numbers of each SQLite database: waits for its locks, how long they were held and by whom, transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::blame::{BlameStats, WalStats, Whose};
use super::{Durations, Evidence, Resolution, Subject};
use crate::correlate::lock::{Blocker, DatabaseId, LockFinding, LockName, LockWait, Owner, Scope, WaitEnd};
use crate::correlate::work::Work;
use crate::profile::Metric;

/// Databases that are counted; all others are counted together in the last one.
const MAX_DATABASES: usize = 64;
/// Holders of one database that are counted one by one.
const MAX_HOLDERS: usize = 128;
/// Statements of one database that are counted one by one.
const MAX_STATEMENTS: usize = 256;
/// Statements that are kept for what a lock was held.
const MAX_BLOCKED_BY: usize = 16;
/// Stands for those that were prepared before we looked.
const UNKNOWN_SQL: &str = "(prepared before the attach)";
/// Names of threads that are remembered.
const MAX_NAMES: usize = 1 << 14;
/// Name of the database that stands for all beyond the bound.
const OTHERS: &str = "(others)";

/// All databases.
#[derive(Clone, Debug, Default)]
pub struct Databases {
    all: Vec<DatabaseStats>,
    names: FxHashMap<u32, String>,
    /// Of all kinds, on these databases or not.
    requests: u64,
}

/// The numbers of one database.
#[derive(Clone, Debug)]
pub struct DatabaseStats {
    /// Its path.
    pub path: String,
    /// It was used in WAL mode.
    pub is_wal: bool,
    /// Another file took its name during the run.
    pub is_replaced: bool,
    /// Write transactions that came to their end.
    pub transactions: u64,
    /// Of these, with at least one wait for a lock.
    pub waited: u64,
    /// Waits for the writer's lock that ended without it: transactions that did not begin.
    pub writes_given_up: u64,
    /// Waits that ended: they got the lock or gave up.
    pub waits: Durations,
    /// Waits that the end of the run or of the thread cut short, nanoseconds each.
    pub unfinished: Durations,
    /// Of all waits: slept although the lock was free.
    pub overshoot: Durations,
    /// Sleeps.
    pub attempts: u64,
    /// Waits that ended in `SQLITE_BUSY`.
    pub gave_up: u64,
    /// Waits by lock, within a process or between processes.
    pub by_lock: BTreeMap<(LockName, Scope), WaitStats>,
    /// Holds by holder and lock; all holders beyond the bound are process 0.
    pub holders: BTreeMap<(Owner, LockName), HoldStats>,
    /// Checkpoints of the WAL by the tree's threads.
    pub checkpoints: WalStats,
    /// For whom threads waited, and for whom they kept others waiting.
    pub blame: BlameStats,
    /// Requests that the tree served.
    pub requests: u64,
    /// Waits for a connection that another thread used.
    pub mutex_waits: Durations,
    /// By text; those beyond the bound together.
    pub statements: BTreeMap<Arc<str>, StatementStats>,
    /// Executions of all statements.
    pub executions: Durations,
}

/// Waits for one lock.
#[derive(Clone, Debug)]
pub struct WaitStats {
    /// All of them.
    pub waits: Durations,
}

/// One lock in the hands of one thread.
#[derive(Clone, Debug)]
pub struct HoldStats {
    /// Name of the thread, where it is known.
    pub comm: Option<String>,
    /// The process belongs to the traced tree.
    pub traced: bool,
    /// Times that it was held.
    pub holds: u64,
    /// Those of which begin and end were seen.
    pub held: Durations,
    /// How long others waited for it, all in all, nanoseconds.
    pub blocked_ns: u64,
    /// Of this, by what it was held for, nanoseconds.
    pub blocked_by: BTreeMap<Arc<str>, u64>,
}

/// The executions of one statement.
#[derive(Clone, Debug)]
pub struct StatementStats {
    /// Time inside SQLite.
    pub duration: Durations,
    /// Rows that were returned.
    pub rows: u64,
    /// Executions that failed.
    pub errors: u64,
    /// Of these, with `SQLITE_BUSY`.
    pub busy: u64,
    /// Of these, without a wait: see [`LockFinding::Statement`].
    pub busy_at_once: u64,
    /// Of these, certainly with `SQLITE_BUSY_SNAPSHOT`.
    pub busy_snapshot: u64,
    /// Waits for locks in it that ended.
    pub waits: u64,
    /// How long, all in all, nanoseconds.
    pub waited_ns: u64,
}

impl Databases {
    /// Counts one finding.
    pub fn add(&mut self, finding: &LockFinding) {
        match finding {
            LockFinding::Database { path } => self.database(path.clone()),
            LockFinding::Wal { database } => self.with(*database, |stats| stats.is_wal = true),
            LockFinding::Name { tid, comm } => {
                if self.names.len() >= MAX_NAMES && !self.names.contains_key(tid) {
                    self.names.clear();
                }
                self.names.insert(*tid, comm.clone());
            }
            LockFinding::Wait(wait) => self.wait(wait),
            LockFinding::Hold { database, lock, owner, traced, held_ns, .. } => {
                let comm = self.names.get(&owner.tid).cloned();
                self.with(*database, |stats| {
                    let holder = stats.holder(*owner, *lock);
                    holder.holds += 1;
                    holder.traced = *traced;
                    holder.comm = comm.or_else(|| holder.comm.take());
                    if let Some(ns) = held_ns {
                        holder.held.record(*ns);
                    }
                });
            }
            LockFinding::Transaction { database, waited_ns } => self.with(*database, |stats| {
                stats.transactions += 1;
                stats.waited += u64::from(*waited_ns > 0);
            }),
            LockFinding::Statement { database, sql, busy_ns, rows, code, is_busy_at_once, is_snapshot } => {
                self.with(*database, |stats| {
                    stats.executions.record(*busy_ns);
                    let statement = stats.statement(sql.as_ref());
                    statement.add(*busy_ns, *rows, *code);
                    statement.busy_at_once += u64::from(*is_busy_at_once);
                    statement.busy_snapshot += u64::from(*is_snapshot);
                });
            }
            LockFinding::Mutex { database, waited_ns } => {
                self.with(*database, |stats| stats.mutex_waits.record(*waited_ns));
            }
            LockFinding::Checkpoint { database, span, work, .. } => {
                self.with(*database, |stats| stats.checkpoints.add(span.ns(), work));
            }
        }
    }

    /// Counts a thing that a thread did.
    pub(super) fn add_work(&mut self, work: &Work, whose: Whose) {
        self.with(work.database, |stats| stats.blame.add(work, whose));
    }

    /// Counts a request.
    pub(super) fn add_request(&mut self) {
        self.requests += 1;
        self.all.iter_mut().for_each(|stats| stats.requests += 1);
    }

    /// Name of a thread, where it is known.
    pub fn comm(&self, tid: u32) -> Option<&str> {
        self.names.get(&tid).map(String::as_str)
    }

    /// Those of which something was counted, in the order in which their first locks were seen.
    pub fn used(&self) -> impl Iterator<Item = &DatabaseStats> {
        self.all.iter().filter(|stats| stats.is_used())
    }

    /// The same databases, of which nothing is counted yet.
    pub(super) fn fresh(&self) -> Self {
        let all = self.all.iter().map(|known| DatabaseStats {
            is_wal: known.is_wal,
            is_replaced: known.is_replaced,
            ..DatabaseStats::new(known.path.clone())
        });
        Self { all: all.collect(), names: self.names.clone(), requests: 0 }
    }

    fn database(&mut self, path: String) {
        if self.all.len() >= MAX_DATABASES {
            return;
        }
        let is_last = self.all.len() + 1 == MAX_DATABASES;
        let path = if is_last { OTHERS.to_owned() } else { path };
        for older in self.all.iter_mut().filter(|older| older.path == path) {
            older.is_replaced = true;
        }
        self.all.push(DatabaseStats { requests: self.requests, ..DatabaseStats::new(path) });
    }

    fn with(&mut self, database: DatabaseId, change: impl FnOnce(&mut DatabaseStats)) {
        let last = self.all.len().saturating_sub(1);
        if let Some(stats) = self.all.get_mut(database.min(last)) {
            change(stats);
        }
    }

    fn wait(&mut self, wait: &LockWait) {
        let comm = |blocker: &Blocker| self.names.get(&blocker.owner.tid).cloned();
        let names: Vec<Option<String>> = wait.blockers.iter().map(comm).collect();
        self.with(wait.database, |stats| {
            stats.attempts += wait.attempts;
            if wait.end == WaitEnd::Open {
                stats.unfinished.record(wait.span.ns());
            } else {
                stats.waits.record(wait.span.ns());
                let of_lock = stats.by_lock.entry((wait.lock, wait.scope));
                let new = || WaitStats { waits: Durations::new(Resolution::Coarse) };
                of_lock.or_insert_with(new).waits.record(wait.span.ns());
            }
            if wait.end == WaitEnd::GaveUp {
                stats.gave_up += 1;
                stats.writes_given_up += u64::from(wait.lock.is_for_writing());
            }
            if let Some(sql) = &wait.sql {
                let statement = stats.statement(Some(sql));
                statement.waits += u64::from(wait.end != WaitEnd::Open);
                statement.waited_ns = statement.waited_ns.saturating_add(wait.span.ns());
            }
            if let Some(ns) = wait.overshoot_ns {
                stats.overshoot.record(ns);
            }
            for (blocker, comm) in wait.blockers.iter().zip(names) {
                let holder = stats.holder(blocker.owner, blocker.lock);
                holder.traced = blocker.traced;
                holder.blocked_ns = holder.blocked_ns.saturating_add(blocker.blocked_ns);
                holder.comm = comm.or_else(|| holder.comm.take());
                if let Some(sql) = &blocker.sql
                    && (holder.blocked_by.len() < MAX_BLOCKED_BY || holder.blocked_by.contains_key(sql))
                {
                    let blocked_ns = holder.blocked_by.entry(Arc::clone(sql)).or_default();
                    *blocked_ns = blocked_ns.saturating_add(blocker.blocked_ns);
                }
            }
        });
    }
}

impl DatabaseStats {
    const fn new(path: String) -> Self {
        Self {
            path,
            is_wal: false,
            is_replaced: false,
            transactions: 0,
            waited: 0,
            writes_given_up: 0,
            waits: Durations::new(Resolution::Fine),
            unfinished: Durations::new(Resolution::Coarse),
            overshoot: Durations::new(Resolution::Coarse),
            attempts: 0,
            gave_up: 0,
            by_lock: BTreeMap::new(),
            holders: BTreeMap::new(),
            checkpoints: WalStats::new(),
            blame: BlameStats::new(),
            requests: 0,
            mutex_waits: Durations::new(Resolution::Coarse),
            statements: BTreeMap::new(),
            executions: Durations::new(Resolution::Fine),
        }
    }

    /// Something was counted.
    pub fn is_used(&self) -> bool {
        self.transactions + self.waits.count() + self.unfinished.count() + self.executions.count() > 0
            || !self.holders.is_empty()
    }

    /// Write transactions that had to wait, those included that gave up, and all of them.
    pub const fn contention(&self) -> (u64, u64) {
        (self.waited + self.writes_given_up, self.transactions + self.writes_given_up)
    }

    /// Requests that waited for a lock: at least, and at most.
    pub fn requests_waited(&self) -> (u64, u64) {
        let least = self.blame.requests.min(self.requests);
        (least, least.saturating_add(self.blame.doubtful).min(self.requests))
    }

    fn holder(&mut self, owner: Owner, lock: LockName) -> &mut HoldStats {
        let is_known = self.holders.contains_key(&(owner, lock));
        let owner =
            if is_known || self.holders.len() < MAX_HOLDERS { owner } else { Owner { pid: 0, tid: 0 } };
        self.holders.entry((owner, lock)).or_insert_with(|| HoldStats {
            comm: None,
            traced: false,
            holds: 0,
            held: Durations::new(Resolution::Coarse),
            blocked_ns: 0,
            blocked_by: BTreeMap::new(),
        })
    }

    fn statement(&mut self, sql: Option<&Arc<str>>) -> &mut StatementStats {
        let name = sql.cloned().unwrap_or_else(|| Arc::from(UNKNOWN_SQL));
        let is_known = self.statements.contains_key(&name);
        let name = if is_known || self.statements.len() < MAX_STATEMENTS { name } else { Arc::from(OTHERS) };
        self.statements.entry(name).or_default()
    }
}

impl Default for StatementStats {
    fn default() -> Self {
        Self {
            duration: Durations::new(Resolution::Coarse),
            rows: 0,
            errors: 0,
            busy: 0,
            busy_at_once: 0,
            busy_snapshot: 0,
            waits: 0,
            waited_ns: 0,
        }
    }
}

impl StatementStats {
    fn add(&mut self, busy_ns: u64, rows: u32, code: i32) {
        /// Of sqlite3.h: row, done, busy.
        const DONE: [i32; 2] = [100, 101];
        const BUSY: i32 = 5;
        self.duration.record(busy_ns);
        self.rows = self.rows.saturating_add(u64::from(rows));
        self.errors += u64::from(!DONE.contains(&code));
        self.busy += u64::from(code & 0xff == BUSY);
    }
}

impl Subject for DatabaseStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        let (part, whole) = self.contention();
        let durations = match metric.quantity.name {
            "wait" => &self.waits,
            "overshoot" => &self.overshoot,
            "wal_checkpoint" => &self.checkpoints.duration,
            "statement" => &self.executions,
            "mutex_wait" => &self.mutex_waits,
            "contention" => return Some(Evidence::Share { part, whole }),
            "request_contention" => {
                let (least, most) = self.requests_waited();
                return Some(Evidence::ShareBetween { least, most, whole: self.requests });
            }
            "gave_up" => return Some(Evidence::Count { count: self.gave_up, samples: whole }),
            _ => return None,
        };
        // A wait that was not over at the end is one that nobody knows the length of.
        let untimed = if metric.quantity.name == "wait" { self.unfinished.count() } else { 0 };
        Some(Evidence::Durations { durations, untimed })
    }
}
