//! The board of all databases: takes lock changes and sleeps in their order, finds waits, holds and transactions.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::blame::{Wait, account, awaited_in};
use super::ending::Granted;
use super::hold::{Ended, Hold, Holds};
use super::name::Slot;
use super::statement::Statements;
use super::thread::{Thread, Transaction};
use super::wait::{Awaited, WaitEnd, Waiting};
use super::{DatabaseId, LockFinding, Owner, Span};
use crate::event::{
    Event, FileId, FileRole, LockChange, Sqlite, SqliteCheckpoint, SqliteFile, SqliteLock, SqliteSleep,
};

/// Databases that are followed; the locks of more are not.
const MAX_DATABASES: usize = 4096;
/// No path looks like this.
const UNKNOWN: &str = "(unknown)";
/// Threads that are followed at a time.
const MAX_THREADS: usize = 1 << 14;
/// A refusal this long before a sleep is not its reason.
const REFUSAL_NS: u64 = 1_000_000_000;
/// How often waits are looked for of which nothing more comes.
const SWEEP_NS: u64 = 100_000_000;
/// A wait whose last sleep ended this shortly before the run's end was in its next one.
const IN_SLEEP_NS: u64 = 150_000_000;

#[derive(Debug)]
pub(super) struct Database {
    path: String,
    inode: Option<u64>,
    pub(super) holds: Holds,
    is_wal: bool,
}

/// See the head of this file. Bounded by the databases, threads and locks that there are at a time.
#[derive(Debug, Default)]
pub struct LockBoard {
    pub(super) databases: Vec<Database>,
    pub(super) statements: Statements,
    files: FxHashMap<FileId, (DatabaseId, FileRole)>,
    pub(super) threads: FxHashMap<u32, Thread>,
    pub(super) transactions: FxHashMap<(DatabaseId, u32), Transaction>,
    sweep_at_ns: u64,
    /// Of the thread that is about to give its lock back.
    pub(super) checkpoint: Option<SqliteCheckpoint>,
}

impl LockBoard {
    /// Takes an event; what follows from it is appended to `out`.
    pub fn event(&mut self, event: &Event, out: &mut Vec<LockFinding>) {
        match event {
            Event::Sqlite(Sqlite::File(file)) => self.file(file, out),
            Event::Sqlite(Sqlite::Lock(lock)) => self.lock(lock, out),
            Event::Sqlite(Sqlite::Sleep(sleep)) => self.sleep(sleep, out),
            Event::Sqlite(Sqlite::Text(text)) => self.statements.tell(text.sql, &text.text),
            Event::Sqlite(Sqlite::Statement(statement)) => self.statement(statement, out),
            Event::Sqlite(Sqlite::Checkpoint(checkpoint)) => self.checkpoint = Some(*checkpoint),
            Event::Sqlite(Sqlite::Mutex(mutex)) => self.mutex(mutex, out),
            Event::Exit(exit) => self.exit(exit.pid, out),
            _ => {}
        }
    }

    /// Ends the run.
    pub fn finish(&mut self, end_ns: u64, out: &mut Vec<LockFinding>) {
        self.finish_statements(out);
        self.settle_where(|_| true, out);
        let mut open: Vec<u32> = self.threads.keys().copied().collect();
        open.sort_unstable();
        for tid in open {
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            let Some(mut wait) = thread.wait.take() else { continue };
            let owner = Owner { pid: thread.pid, tid };
            let since_ns = end_ns.saturating_sub(wait.waiting.span.end_ns);
            let mut end = wait.waiting.end_unseen();
            if since_ns < IN_SLEEP_NS && wait.waiting.may_go_on() {
                let rest = Span { start_ns: wait.waiting.span.end_ns, end_ns };
                account(&self.databases, &mut wait, owner, None, rest);
                wait.waiting.span.end_ns = end_ns.max(wait.waiting.span.end_ns);
                end = WaitEnd::Open;
            }
            self.close(owner, wait, end, out);
        }
    }

    fn file(&mut self, file: &SqliteFile, out: &mut Vec<LockFinding>) {
        // The newest of that name, unless that is known to be another file: it was replaced.
        let same = self.databases.iter().rposition(|database| database.path == file.database);
        let is_same = |id: &DatabaseId| match (self.databases[*id].inode, file.inode) {
            (Some(known), Some(new)) => known == new,
            _ => true,
        };
        let has_role = |id: DatabaseId| self.files.values().any(|known| *known == (id, file.role));
        let is_newer = |id: &DatabaseId| file.inode.is_some() || !has_role(*id);
        let id = same.filter(is_same).filter(is_newer).or_else(|| self.add(&file.database, out));
        let Some(id) = id else { return };
        self.databases[id].inode = self.databases[id].inode.or(file.inode);
        if file.role == FileRole::Shm && !std::mem::replace(&mut self.databases[id].is_wal, true) {
            out.push(LockFinding::Wal { database: id });
        }
        self.files.insert(file.file, (id, file.role));
    }

    fn lock(&mut self, lock: &SqliteLock, out: &mut Vec<LockFinding>) {
        if let Some(comm) = &lock.comm {
            out.push(LockFinding::Name { tid: lock.tid, comm: comm.clone() });
        }
        let Some(&(database, role)) = self.files.get(&lock.file) else { return };
        self.sweep(lock.ts_ns, out);
        let owner = Owner { pid: lock.pid, tid: lock.tid };
        if lock.traced && !lock.older {
            self.thread(owner).used(database, lock.ts_ns);
            if lock.change != LockChange::Release {
                self.settle(owner, out);
            }
        }
        let is_write = matches!(lock.change, LockChange::Write | LockChange::WriteRefused);
        for slot in Slot::in_range(role, lock.start, lock.end) {
            match lock.change {
                LockChange::Read | LockChange::Write => {
                    let hold = Hold {
                        owner,
                        is_write,
                        since_ns: lock.ts_ns,
                        is_older: lock.older,
                        traced: lock.traced,
                        sql: lock.sql,
                        work_ns: 0,
                    };
                    self.granted(database, slot, hold, out);
                }
                LockChange::Release => {
                    let ended = self.databases[database].holds.release(slot, owner.pid, lock.ts_ns);
                    if let Some(ended) = ended {
                        self.ended(database, ended, out);
                    }
                }
                LockChange::ReadRefused | LockChange::WriteRefused => {
                    let awaited = Awaited { database, lock: Some((slot, is_write)), was_refused: true };
                    if let Some(thread) = self.threads.get_mut(&owner.tid) {
                        thread.refused = Some((lock.ts_ns, awaited));
                        // Others are refused on the way, such as the marks of readers that somebody moves.
                        let is_same = |wait: &&mut Wait| wait.waiting.awaited.lock == awaited.lock;
                        if let Some(wait) = thread.wait.as_mut().filter(is_same) {
                            wait.waiting.refused_again = true;
                        }
                    }
                    // One refusal is one, however many bytes it names.
                    return;
                }
            }
        }
    }

    fn granted(&mut self, database: DatabaseId, slot: Slot, hold: Hold, out: &mut Vec<LockFinding>) {
        let owner = hold.owner;
        let (ended, is_new) = self.databases[database].holds.grant(slot, hold);
        if let Some(ended) = ended {
            self.ended(database, ended, out);
        }
        if hold.is_older {
            self.found_late(database);
            return;
        }
        if !hold.traced {
            return;
        }
        let mut waited_ns = 0;
        if let Some(thread) = self.threads.get_mut(&owner.tid) {
            thread.refused = None;
            let is_awaited = |wait: &mut Wait| {
                wait.waiting.granted = true;
                let awaited = wait.waiting.awaited;
                let is_same = awaited.lock == Some((slot, hold.is_write));
                // What a writer waits for first, SHARED or PENDING, only leads to this.
                let is_writer = hold.is_write && slot.name(true).is_for_writing();
                awaited.database == database && hold.is_write && (is_same || is_writer)
            };
            if let Some(wait) = thread.wait.take_if(is_awaited) {
                let end = wait.waiting.end_at_grant(hold.since_ns);
                if end == WaitEnd::Got {
                    waited_ns = wait.waiting.span.ns();
                }
                if end == WaitEnd::Got && slot == Slot::WAL_WRITE {
                    thread.granted = Some(Granted::new(wait, hold.since_ns));
                } else {
                    self.close(owner, wait, end, out);
                }
            }
        }
        let key = (database, owner.pid);
        if hold.is_write && slot.name(true).is_for_writing() && is_new {
            let has_read = slot != Slot::WAL_WRITE || self.databases[database].holds.is_reading(owner.pid);
            self.transactions.insert(key, Transaction { waited_ns, is_recovery: false, has_read });
        } else if let Some(transaction) = self.transactions.get_mut(&key) {
            transaction.is_recovery |= slot == Slot::WAL_RECOVER && hold.is_write;
        }
    }

    /// A lock came to light that was there all the time: who waits already may have waited for it.
    fn found_late(&mut self, database: DatabaseId) {
        for (tid, thread) in &mut self.threads {
            let waiter = Owner { pid: thread.pid, tid: *tid };
            let Some(wait) = thread.wait.as_mut() else { continue };
            if wait.waiting.awaited.database == database && wait.covered_ns == 0 {
                let span = wait.waiting.span;
                account(&self.databases, wait, waiter, None, span);
            }
        }
    }

    fn ended(&mut self, database: DatabaseId, ended: Ended, out: &mut Vec<LockFinding>) {
        let Ended { slot, hold, end_ns } = ended;
        let is_wal = self.databases[database].is_wal;
        // In WAL mode these two last as long as the connection.
        let is_lasting = slot == Slot::WAL_DMS || (slot == Slot::Shared && !hold.is_write && is_wal);
        let held_ns = (!hold.is_older).then(|| end_ns.saturating_sub(hold.since_ns));
        if !is_lasting {
            let (lock, owner, traced) = (ended.name(), hold.owner, hold.traced);
            let sql = self.statements.text(hold.sql);
            out.push(LockFinding::Hold { database, lock, owner, traced, held_ns, sql });
        }
        if !hold.is_write || !hold.traced {
            return;
        }
        if slot == Slot::WAL_WRITE {
            self.thread(hold.owner).wrote_since_ns = hold.since_ns;
        }
        if slot.name(true).is_for_writing() {
            let is_transaction = |transaction: &Transaction| {
                // Who looks whether the index of the WAL is whole does not read yet; builds with
                // `SQLITE_ENABLE_SETLK_TIMEOUT` take the writer's lock first, and read then.
                let has_read =
                    transaction.has_read || self.databases[database].holds.is_reading(hold.owner.pid);
                has_read && !transaction.is_recovery
            };
            let transaction = self.transactions.remove(&(database, hold.owner.pid)).filter(is_transaction);
            let found = transaction
                .map(|transaction| LockFinding::Transaction { database, waited_ns: transaction.waited_ns });
            self.given_back(&ended, found, out);
        }
        if slot == Slot::WAL_CKPT
            && !hold.is_older
            // A recovery takes both at once.
            && self.databases[database].holds.of(Slot::WAL_RECOVER, hold.owner.pid).is_none()
        {
            let work = self.checkpoint_work(hold.owner);
            let span = Span { start_ns: hold.since_ns, end_ns };
            out.push(LockFinding::Checkpoint { database, owner: hold.owner, span, work });
        }
    }

    fn sleep(&mut self, sleep: &SqliteSleep, out: &mut Vec<LockFinding>) {
        self.sweep(sleep.end_ns, out);
        let owner = Owner { pid: sleep.pid, tid: sleep.tid };
        self.resume(owner, sleep, out);
        let span = Span { start_ns: sleep.start_ns, end_ns: sleep.end_ns };
        let refused = self.thread(owner).refused.take();
        let is_recent = |(ts_ns, _): &(u64, Awaited)| span.start_ns.saturating_sub(*ts_ns) < REFUSAL_NS;
        let awaited =
            refused.filter(is_recent).map(|(_, awaited)| awaited).or_else(|| self.guess(owner, span));
        let Some(thread) = self.threads.get_mut(&owner.tid) else { return };
        if let Some(mut wait) = thread.wait.take() {
            let before = wait.waiting.span.end_ns;
            if wait.waiting.extend(span, sleep.requested_ns) {
                account(&self.databases, &mut wait, owner, awaited, Span { start_ns: before, ..span });
                thread.wait = Some(wait);
                return;
            }
            let end = wait.waiting.end_unseen();
            self.close(owner, wait, end, out);
        }
        let Some(awaited) = awaited.or_else(|| self.unknown(out)) else { return };
        let waiting = Waiting::begin(span, sleep.requested_ns, awaited);
        let mut wait = Wait { waiting, sql: sleep.sql, blockers: BTreeMap::new(), covered_ns: 0 };
        account(&self.databases, &mut wait, owner, Some(awaited), span);
        self.thread(owner).wait = Some(wait);
    }

    /// Stands for the databases of threads that have not made a call on one yet.
    pub(super) fn unknown(&mut self, out: &mut Vec<LockFinding>) -> Option<Awaited> {
        let known = self.databases.iter().position(|database| database.path == UNKNOWN);
        let database = known.or_else(|| self.add(UNKNOWN, out))?;
        Some(Awaited { database, lock: None, was_refused: false })
    }

    fn add(&mut self, path: &str, out: &mut Vec<LockFinding>) -> Option<DatabaseId> {
        if self.databases.len() >= MAX_DATABASES {
            return None;
        }
        self.databases.push(Database {
            path: path.to_owned(),
            inode: None,
            holds: Holds::default(),
            is_wal: false,
        });
        out.push(LockFinding::Database { path: path.to_owned() });
        Some(self.databases.len() - 1)
    }

    /// What a thread waits for that made no call: a lock that another thread of its process has.
    fn guess(&self, waiter: Owner, span: Span) -> Option<Awaited> {
        let of_thread = self.threads.get(&waiter.tid).map(|thread| thread.databases.as_slice());
        let of_thread = of_thread.unwrap_or_default();
        let others = (0..self.databases.len()).filter(|id| !of_thread.contains(id));
        let begin = Span { end_ns: span.start_ns.saturating_add(1), ..span };
        for look in [begin, span] {
            for database in of_thread.iter().copied().chain(others.clone()) {
                if let Some(lock) = awaited_in(&self.databases[database].holds, waiter, look) {
                    return Some(Awaited { database, lock: Some(lock), was_refused: false });
                }
            }
        }
        let database = of_thread.first().copied()?;
        Some(Awaited { database, lock: None, was_refused: false })
    }

    /// Ends the waits of which nothing more came.
    pub(super) fn sweep(&mut self, now_ns: u64, out: &mut Vec<LockFinding>) {
        if now_ns < self.sweep_at_ns {
            return;
        }
        self.sweep_at_ns = now_ns.saturating_add(SWEEP_NS);
        let is_over = |thread: &Thread| thread.wait.as_ref().is_some_and(|wait| wait.waiting.is_over(now_ns));
        self.close_where(is_over, Waiting::end_unseen, out);
        self.settle_where(
            |thread| thread.granted.as_ref().is_some_and(|granted| granted.is_over(now_ns)),
            out,
        );
    }

    /// A process is gone: its locks are given back one by one, its waits ended unfinished.
    fn exit(&mut self, pid: u32, out: &mut Vec<LockFinding>) {
        self.settle_where(|thread| thread.pid == pid, out);
        self.close_where(|thread| thread.pid == pid && thread.wait.is_some(), |_| WaitEnd::Open, out);
        self.threads.retain(|_, thread| thread.pid != pid);
        self.statements.forget(pid);
    }

    pub(super) fn thread(&mut self, owner: Owner) -> &mut Thread {
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&owner.tid) {
            // Threads end without a word; those that wait are kept.
            self.threads.retain(|_, thread| thread.wait.is_some() || thread.granted.is_some());
        }
        let new = || Thread::new(owner.pid);
        let thread = self.threads.entry(owner.tid).or_insert_with(new);
        if thread.pid != owner.pid {
            // The id is another thread's by now.
            *thread = new();
        }
        thread
    }
}
