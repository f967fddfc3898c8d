//! Texts of statements, by the numbers that other records name them with; literals go before anything else sees them.

use probe_common::sqlite::{CheckpointRaw, MutexRaw, SqlHead, StatementRaw};
use rustc_hash::{FxHashMap, FxHashSet};

use super::sql::normalise;
use crate::{
    event::{Event, SqlId, Sqlite, SqliteCheckpoint, SqliteMutex, SqliteStatement, SqliteText},
    probes::wire::{DecodeError, prefix},
};

/// Texts as they were prepared; those beyond it are statements that nobody knows.
const MAX_RAW: usize = 1 << 16;
/// Statements without their literals: those beyond it are one.
const MAX_TEXTS: usize = 1 << 12;
/// Stands for the rest.
const OTHERS: &str = "(others)";
/// Processes that are remembered.
const MAX_PROCESSES: usize = 1 << 14;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_hash: FxHashMap<u64, SqlId>,
    by_text: FxHashMap<String, SqlId>,
    /// Processes that locked a database, and those of which a statement was seen.
    locked: FxHashSet<u32>,
    told: FxHashSet<u32>,
}

impl Texts {
    /// Decodes a text.
    pub(super) fn text(&mut self, record: &[u8], out: &mut Vec<Event>) -> Result<(), DecodeError> {
        let (head, rest): (SqlHead, _) = prefix(record)?;
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        let text = rest.get(..len).ok_or(DecodeError::Short(record.len()))?;
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        if self.by_hash.len() >= MAX_RAW {
            return Ok(());
        }
        let mut text = normalise(&String::from_utf8_lossy(text));
        if self.by_text.len() >= MAX_TEXTS && !self.by_text.contains_key(&text) {
            OTHERS.clone_into(&mut text);
        }
        let next = SqlId::try_from(self.by_text.len()).unwrap_or(SqlId::MAX);
        let id = *self.by_text.entry(text.clone()).or_insert(next);
        if id == next {
            out.push(Event::Sqlite(Sqlite::Text(SqliteText { ts_ns: head.header.ts_ns, sql: id, text })));
        }
        self.by_hash.insert(head.sql, id);
        Ok(())
    }

    /// The statement that a record names.
    pub(super) fn id(&self, hash: u64) -> Option<SqlId> {
        self.by_hash.get(&hash).copied()
    }

    pub(super) fn statement(&mut self, raw: &StatementRaw, out: &mut Vec<Event>) {
        if self.told.len() < MAX_PROCESSES {
            self.told.insert(raw.header.pid);
        }
        out.push(Event::Sqlite(Sqlite::Statement(SqliteStatement {
            start_ns: raw.enter_ns,
            end_ns: raw.header.ts_ns,
            busy_ns: raw.busy_ns,
            pid: raw.header.pid,
            tid: raw.header.tid,
            sql: self.id(raw.sql),
            connection: raw.connection,
            rows: raw.rows,
            code: raw.code,
        })));
    }

    pub(super) fn mutex(&self, raw: &MutexRaw, out: &mut Vec<Event>) {
        out.push(Event::Sqlite(Sqlite::Mutex(SqliteMutex {
            start_ns: raw.enter_ns,
            end_ns: raw.header.ts_ns,
            pid: raw.header.pid,
            tid: raw.header.tid,
            sql: self.id(raw.sql),
            connection: raw.connection,
        })));
    }

    pub(super) fn checkpoint(&self, raw: &CheckpointRaw, out: &mut Vec<Event>) {
        out.push(Event::Sqlite(Sqlite::Checkpoint(SqliteCheckpoint {
            ts_ns: raw.header.ts_ns,
            pid: raw.header.pid,
            tid: raw.header.tid,
            sql: self.id(raw.sql),
            pages: raw.pages,
            bytes: raw.bytes,
            syncs: raw.syncs,
            sync_ns: raw.sync_ns,
        })));
    }

    /// A process of the tree locked a database: it must have executed something.
    pub(super) fn locked(&mut self, pid: u32) {
        if self.locked.len() < MAX_PROCESSES {
            self.locked.insert(pid);
        }
    }

    /// Processes that did, but of which no statement was seen.
    pub(super) fn n_untold(&self) -> usize {
        self.locked.difference(&self.told).count()
    }
}
