//! For what a thread waited for a lock, or held one, or made a checkpoint: a request or a stage. Pure.
//!
//! The kernel knows threads, not requests. What is joined is said with how; what cannot be, is said to be nobody's:
//!
//! - a stage is that of the checkpoint that the same thread put in place next;
//! - a thread that reads requests itself works for those that it has read;
//! - any other thread of a server may work for any request that its process has: only those count that were there all the
//!   time, and of them there must be one.
//!
//! A stage is known when it ends, so everything here is told late, with the time at which it happened.

mod requests;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Finding;
use super::lock::{DatabaseId, LockFinding, LockName, LockWait, Owner, Span};
use crate::event::{Event, GivenUp, StepDown};
use requests::Requests;
pub use requests::Target;

/// What waits to be joined; beyond, the oldest is joined with what is known by then.
const MAX_PENDING: usize = 1 << 15;
/// Ends of stages that are remembered.
const MAX_STAGES: usize = 1 << 15;
/// Threads that ended stages.
const MAX_THREADS: usize = 1 << 14;

/// What a thread did in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// It waited for a lock.
    Waited,
    /// It held this lock, while a thread of the tree waited for it.
    Held {
        /// Which.
        lock: LockName,
        /// For which statement, where that is known.
        sql: Option<Arc<str>>,
        /// Its process belongs to the traced tree.
        traced: bool,
    },
    /// It made a checkpoint of the WAL.
    Checkpointed {
        /// In which statement, where that is known.
        sql: Option<Arc<str>>,
    },
}

/// For whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum For {
    /// One of these requests; where they are all of one endpoint, for that.
    Requests {
        /// Method and path of each, no two alike; none where they are too many.
        targets: Vec<Target>,
        /// The number of the request, where it is one.
        only: Option<u64>,
        /// The thread had read them itself; else they were those in flight in its process all the time.
        by_reader: bool,
    },
    /// A stage.
    Stage {
        /// Its name.
        name: String,
        /// Its number.
        index: Option<u32>,
        /// One thread did all of it.
        is_whole: bool,
    },
    /// Nobody knows.
    Nobody,
}

/// One thing that a thread did, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Of which database.
    pub database: DatabaseId,
    /// The thread.
    pub owner: Owner,
    /// What it did.
    pub did: Did,
    /// How long, nanoseconds.
    pub ns: u64,
    /// When that was over.
    pub end_ns: u64,
    /// For whom.
    pub whose: For,
}

#[derive(Debug)]
struct Pending {
    work: Work,
    start_ns: u64,
}

/// A stage that a thread ended.
#[derive(Debug)]
struct Ended {
    began_ns: u64,
    end_ns: u64,
    name: String,
    index: Option<u32>,
    is_whole: bool,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct WorkTracker {
    requests: Requests,
    pending: VecDeque<Pending>,
    stages: FxHashMap<u32, VecDeque<Ended>>,
    n_stages: usize,
    /// Threads that ended stages work for no request.
    stage_threads: FxHashSet<u32>,
}

impl WorkTracker {
    /// Takes an event; must come before what follows from it.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Request(request) => self.requests.request(request),
            Event::Response(response) => self.requests.response(response),
            Event::Closed(closed) => self.requests.closed(closed),
            Event::StepDown(StepDown { what: GivenUp::Connections(_), .. }) => self.requests.give_up(),
            _ => {}
        }
    }

    /// Takes what followed from events; what is known of earlier things is appended to `out`.
    pub fn finding(&mut self, finding: &Finding, out: &mut Vec<Finding>) {
        match finding {
            Finding::Lock(LockFinding::Wait(wait)) => self.wait(wait),
            Finding::Lock(LockFinding::Checkpoint { database, owner, span, work }) => {
                let did = Did::Checkpointed { sql: work.sql.clone() };
                self.push(*database, *owner, did, span.ns(), *span);
            }
            Finding::Stage(run) => {
                let Some((began_ns, _)) = run.began.filter(|_| run.tid != 0) else { return };
                if self.stage_threads.len() < MAX_THREADS {
                    self.stage_threads.insert(run.tid);
                }
                self.make_room();
                self.n_stages += 1;
                self.stages.entry(run.tid).or_default().push_back(Ended {
                    began_ns,
                    end_ns: run.end_ns,
                    name: run.stage.clone(),
                    index: run.index,
                    is_whole: run.io_ns.is_some(),
                });
            }
            _ => {}
        }
        while self.pending.len() > MAX_PENDING {
            self.join_oldest(out);
        }
    }

    /// Nothing more will come.
    pub fn finish(&mut self, out: &mut Vec<Finding>) {
        while !self.pending.is_empty() {
            self.join_oldest(out);
        }
    }

    fn wait(&mut self, wait: &LockWait) {
        self.push(wait.database, wait.waiter, Did::Waited, wait.span.ns(), wait.span);
        for blocker in &wait.blockers {
            let did = Did::Held { lock: blocker.lock, sql: blocker.sql.clone(), traced: blocker.traced };
            self.push(wait.database, blocker.owner, did, blocker.blocked_ns, blocker.held);
        }
    }

    fn push(&mut self, database: DatabaseId, owner: Owner, did: Did, ns: u64, span: Span) {
        // Requests are forgotten soon: what they say is looked up now, and stands unless a stage says more.
        let whose = self.requests.within(owner, span);
        let work = Work { database, owner, did, ns, end_ns: span.end_ns, whose };
        self.pending.push_back(Pending { work, start_ns: span.start_ns });
    }

    fn join_oldest(&mut self, out: &mut Vec<Finding>) {
        let Some(Pending { mut work, start_ns }) = self.pending.pop_front() else { return };
        if let Some(stage) = self.stage(&work, start_ns) {
            work.whose = stage;
        } else if self.stage_threads.contains(&work.owner.tid) {
            work.whose = For::Nobody;
        }
        out.push(Finding::Work(Box::new(work)));
    }

    /// The stage that this thread ended next, if it had begun.
    fn stage(&self, work: &Work, start_ns: u64) -> Option<For> {
        let ended = self.stages.get(&work.owner.tid)?.iter();
        let around = ended.filter(|stage| stage.began_ns <= start_ns && stage.end_ns >= work.end_ns);
        let stage = around.min_by_key(|stage| stage.end_ns)?;
        Some(For::Stage { name: stage.name.clone(), index: stage.index, is_whole: stage.is_whole })
    }

    /// Forgets stages that ended before anything that waits to be joined.
    fn make_room(&mut self) {
        if self.n_stages < MAX_STAGES {
            return;
        }
        let oldest_ns = self.pending.front().map_or(u64::MAX, |pending| pending.work.end_ns);
        for ended in self.stages.values_mut() {
            ended.retain(|stage| stage.end_ns >= oldest_ns);
            // Half of what is left goes as well: there must be room.
            ended.drain(..ended.len() / 2);
        }
        self.stages.retain(|_, ended| !ended.is_empty());
        self.n_stages = self.stages.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests;
