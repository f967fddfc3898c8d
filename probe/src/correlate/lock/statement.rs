//! Statements: which text a number stands for, and which database a connection leads to.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::blame::Wait;
use super::wait::WaitEnd;
use super::{CheckpointWork, DatabaseId, LockBoard, LockFinding, Owner};
use crate::event::{SqlId, SqliteCheckpoint, SqliteMutex, SqliteStatement};

/// `SQLITE_BUSY` (sqlite3.h).
const CODE_BUSY: i32 = 5;
/// `SQLITE_ROW`, `SQLITE_DONE` (sqlite3.h).
const CODE_ROW: i32 = 100;
/// See [`CODE_ROW`].
const CODE_DONE: i32 = 101;
/// `SQLITE_BUSY_SNAPSHOT`, of a connection that asked for extended codes.
const CODE_BUSY_SNAPSHOT: i32 = 517;
/// The part of a result code that is not its extension.
const PRIMARY: i32 = 0xff;

/// Connections that are remembered.
const MAX_CONNECTIONS: usize = 1 << 14;
/// Statements of one connection that are kept until it is known where it leads.
const MAX_EARLY: usize = 32;
/// Connections of which some are.
const MAX_EARLY_CONNECTIONS: usize = 1024;
/// Texts that are remembered; the decoder tells of no more.
const MAX_TEXTS: usize = 1 << 13;

/// How a statement failed.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    /// As [`LockFinding::Statement::is_busy_at_once`].
    at_once: bool,
    /// As [`LockFinding::Statement::is_snapshot`].
    is_snapshot: bool,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Statements {
    texts: FxHashMap<SqlId, Arc<str>>,
    connections: FxHashMap<(u32, u64), DatabaseId>,
    /// Statements of connections of which it is not yet known where they lead, and how they failed: what connections of
    /// a process share makes no call that names the file.
    early: FxHashMap<(u32, u64), Vec<(SqliteStatement, Busy)>>,
}

impl Statements {
    pub(super) fn tell(&mut self, id: SqlId, text: &str) {
        if self.texts.len() < MAX_TEXTS {
            self.texts.insert(id, Arc::from(text));
        }
    }

    /// The text of a statement, without its literals.
    pub(super) fn text(&self, id: Option<SqlId>) -> Option<Arc<str>> {
        self.texts.get(&id?).cloned()
    }

    /// The statement does something to data, and not only to the transaction around it.
    pub(super) fn is_work(&self, id: SqlId) -> bool {
        const CONTROL: [&str; 7] = ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA"];
        let first = self.texts.get(&id).and_then(|text| text.split(' ').next());
        first.is_some_and(|first| !CONTROL.iter().any(|control| first.eq_ignore_ascii_case(control)))
    }

    /// Where a connection of a process leads, and what was learned of it.
    pub(super) fn database(&self, pid: u32, connection: u64) -> Option<DatabaseId> {
        self.connections.get(&(pid, connection)).copied().filter(|_| connection != 0)
    }

    pub(super) fn learn(&mut self, pid: u32, connection: u64, database: DatabaseId) {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.clear();
        }
        self.connections.insert((pid, connection), database);
    }

    /// A process is gone.
    pub(super) fn forget(&mut self, pid: u32) {
        self.connections.retain(|(of, _), _| *of != pid);
    }
}

impl LockBoard {
    /// The execution of a statement is over.
    pub(super) fn statement(&mut self, statement: &SqliteStatement, out: &mut Vec<LockFinding>) {
        self.sweep(statement.end_ns, out);
        let owner = Owner { pid: statement.pid, tid: statement.tid };
        let database = self.database_of(owner, statement.connection, statement.start_ns);
        self.settle(owner, out);
        let mut busy = Busy { at_once: statement.code & PRIMARY == CODE_BUSY, is_snapshot: false };
        let of_call = |wait: &Wait| wait.waiting.span.start_ns >= statement.start_ns;
        if busy.at_once
            && let Some(wait) = self.thread(owner).wait.take_if(|wait| of_call(wait))
        {
            busy.at_once = false;
            self.close(owner, wait, WaitEnd::GaveUp, out);
        }
        // Also one of its preparation, which reads the schema.
        let of_text = |wait: &Wait| {
            wait.sql.is_some() && wait.sql == statement.sql && wait.waiting.span.end_ns <= statement.end_ns
        };
        if matches!(statement.code, CODE_ROW | CODE_DONE)
            && let Some(wait) = self.thread(owner).wait.take_if(|wait| of_call(wait) || of_text(wait))
        {
            // It could do without the lock after all: what a WAL's index needed, another one had done.
            self.close(owner, wait, WaitEnd::Got, out);
        }
        busy.is_snapshot = busy.at_once
            && (statement.code == CODE_BUSY_SNAPSHOT
                || self.thread(owner).wrote_since_ns >= statement.start_ns);
        let known = (statement.clone(), busy);
        let key = (owner.pid, statement.connection);
        let Some(database) = database else {
            let early = self.statements.early.entry(key).or_default();
            early.push(known);
            if early.len() >= MAX_EARLY || self.statements.early.len() > MAX_EARLY_CONNECTIONS {
                self.tell_early(key, None, out);
            }
            return;
        };
        self.tell_early(key, Some(database), out);
        self.tell_statement(database, &known.0, known.1, out);
    }

    /// Statements of a connection that has been found to lead to a database, or of which nothing is known.
    fn tell_early(&mut self, key: (u32, u64), database: Option<DatabaseId>, out: &mut Vec<LockFinding>) {
        for (statement, busy) in self.statements.early.remove(&key).unwrap_or_default() {
            let used = self.threads.get(&statement.tid).filter(|thread| thread.pid == statement.pid);
            let database = database.or_else(|| used?.databases.first().copied());
            let unknown = |board: &mut Self, out: &mut Vec<LockFinding>| Some(board.unknown(out)?.database);
            if let Some(database) = database.or_else(|| unknown(self, out)) {
                self.tell_statement(database, &statement, busy, out);
            }
        }
    }

    /// Nothing more will come.
    pub(super) fn finish_statements(&mut self, out: &mut Vec<LockFinding>) {
        let mut early: Vec<(u32, u64)> = self.statements.early.keys().copied().collect();
        early.sort_unstable();
        for key in early {
            self.tell_early(key, None, out);
        }
    }

    fn tell_statement(
        &mut self,
        database: DatabaseId,
        statement: &SqliteStatement,
        busy: Busy,
        out: &mut Vec<LockFinding>,
    ) {
        let owner = Owner { pid: statement.pid, tid: statement.tid };
        if let Some(id) = statement.sql
            && self.statements.is_work(id)
        {
            self.databases[database].holds.worked(owner, statement.start_ns, id, statement.busy_ns);
        }
        out.push(LockFinding::Statement {
            database,
            sql: self.statements.text(statement.sql),
            busy_ns: statement.busy_ns,
            rows: statement.rows,
            code: statement.code,
            is_busy_at_once: busy.at_once,
            is_snapshot: busy.is_snapshot,
        });
    }

    /// A thread waited for a connection that another one used.
    pub(super) fn mutex(&mut self, mutex: &SqliteMutex, out: &mut Vec<LockFinding>) {
        let owner = Owner { pid: mutex.pid, tid: mutex.tid };
        let database = self.database_of(owner, mutex.connection, mutex.start_ns);
        let Some(database) = database.or_else(|| self.unknown(out).map(|awaited| awaited.database)) else {
            return;
        };
        let waited_ns = mutex.end_ns.saturating_sub(mutex.start_ns);
        out.push(LockFinding::Mutex { database, waited_ns });
    }

    /// What a checkpoint did that this thread has just made.
    pub(super) fn checkpoint_work(&mut self, owner: Owner) -> CheckpointWork {
        let told = self.checkpoint.take().filter(|told| (told.pid, told.tid) == (owner.pid, owner.tid));
        let Some(told) = told else { return CheckpointWork::default() };
        let SqliteCheckpoint { pages, bytes, syncs, sync_ns, sql, .. } = told;
        CheckpointWork { pages, bytes, syncs, sync_ns, sql: self.statements.text(sql) }
    }

    /// Which database a connection leads to: the one that its thread locked while it used it, now or before.
    fn database_of(&mut self, owner: Owner, connection: u64, start_ns: u64) -> Option<DatabaseId> {
        let thread = self.threads.get(&owner.tid).filter(|thread| thread.pid == owner.pid);
        let last = thread.and_then(|thread| Some((*thread.databases.first()?, thread.used_ns)));
        if let Some((database, used_ns)) = last
            && used_ns >= start_ns
        {
            self.statements.learn(owner.pid, connection, database);
            return Some(database);
        }
        let known = self.statements.database(owner.pid, connection);
        if connection == 0 { last.map(|(database, _)| database) } else { known }
    }
}
