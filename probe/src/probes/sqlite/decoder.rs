//! Records of the sqlite room as events: names the files, tells SQLite's sleeps from others, and adds the locks that are
//! older than our view.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use probe_common::{
    file::{self, PathHead},
    header::{Header, Kind},
    sqlite::{
        CheckpointRaw, F_RDLCK, F_UNLCK, F_WRLCK, LOCK_TRACED, LockRaw, MutexRaw, PENDING_BYTE, SleepRaw,
        StatementRaw,
    },
};
use rustc_hash::FxHashMap;

use super::{
    caller::{Callers, without_time},
    held,
    texts::Texts,
};
use crate::{
    event::{Event, FileId, FileRole, LockChange, Sqlite, SqliteFile, SqliteLock, SqliteSleep},
    probes::{
        path,
        wire::{DecodeError, prefix},
    },
    target::{mounts::Mounts, procfs},
};

/// Threads whose names are remembered.
const MAX_NAMES: usize = 1 << 14;
/// Files that are remembered: as many as the kernel side follows.
const MAX_FILES: usize = 1 << 12;

/// Descriptors that are looked at for a deleted database.
const MAX_DESCRIPTORS: usize = 1 << 16;

/// State over all files and processes.
#[derive(Debug, Default)]
pub struct Decoder {
    /// None for a file that only looked like one of SQLite's.
    files: FxHashMap<file::FileId, Option<FileId>>,
    /// Of files whose first lock is still to come.
    paths: FxHashMap<file::FileId, String>,
    mounts: Mounts,
    n_files: FileId,
    names: FxHashMap<u32, [u8; 16]>,
    callers: Callers,
    texts: Texts,
    found: Vec<Found>,
}

/// Locks that were there when a file was taken up, until everything that happened before that moment was decoded.
#[derive(Debug)]
struct Found {
    file: FileId,
    /// Before they were read.
    at_ns: u64,
    /// It must be read to its end once more after the one in which the file was found.
    n_drains: u32,
    locks: Vec<held::Held>,
}

impl Decoder {
    /// Decodes a record of this room; false for those of others.
    pub fn decode(&mut self, kind: Kind, record: &[u8], out: &mut Vec<Event>) -> Result<bool, DecodeError> {
        match kind {
            Kind::SqliteLock => self.lock(&prefix::<LockRaw>(record)?.0, out),
            Kind::SqliteFile => {
                let (header, rest): (Header, _) = prefix(record)?;
                let (file, rest): (file::FileId, _) = prefix(rest)?;
                let (head, names): (PathHead, _) = prefix(rest)?;
                let (path, _) = path::decode(head, names)?;
                if self.paths.len() >= MAX_FILES {
                    self.paths.clear();
                }
                self.paths.insert(file, self.mounts.resolve(header.pid, &path));
            }
            Kind::SqliteText => self.texts.text(record, out)?,
            Kind::SqliteStatement => self.texts.statement(&prefix::<StatementRaw>(record)?.0, out),
            Kind::SqliteMutex => self.texts.mutex(&prefix::<MutexRaw>(record)?.0, out),
            Kind::SqliteCheckpoint => self.texts.checkpoint(&prefix::<CheckpointRaw>(record)?.0, out),
            Kind::SqliteSleep => self.sleep(&prefix::<SleepRaw>(record)?.0, out),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The ring was read to its end.
    pub fn drained(&mut self, out: &mut Vec<Event>) {
        for found in &mut self.found {
            found.n_drains += 1;
        }
        for found in self.found.extract_if(.., |found| found.n_drains > 1) {
            out.extend(found.locks.iter().map(|held| older(&found, held)));
        }
    }

    /// Processes of the tree that used databases and of which no statement was seen.
    pub fn n_without_statements(&self) -> usize {
        self.texts.n_untold()
    }

    /// A process has ended, or runs another program.
    pub fn forget(&mut self, pid: u32) {
        self.callers.forget(pid);
    }

    fn lock(&mut self, raw: &LockRaw, out: &mut Vec<Event>) {
        let known = match self.files.get(&raw.file) {
            Some(known) => *known,
            None => self.file(raw, out),
        };
        let Some(file) = known else { return };
        for found in self.found.iter_mut().filter(|found| found.file == file) {
            // What came later is known better than from the snapshot.
            let is_later = |held: &held::Held| {
                raw.header.ts_ns > found.at_ns
                    && held.pid == raw.header.pid
                    && held.start <= raw.end
                    && held.end >= raw.start
            };
            found.locks.retain(|held| !is_later(held));
        }
        let change = match (raw.kind, raw.ret) {
            (F_RDLCK, 0) => LockChange::Read,
            (F_WRLCK, 0) => LockChange::Write,
            (F_UNLCK, 0) => LockChange::Release,
            (F_RDLCK, _) => LockChange::ReadRefused,
            (F_WRLCK, _) => LockChange::WriteRefused,
            _ => return,
        };
        if raw.flags & LOCK_TRACED != 0 {
            self.texts.locked(raw.header.pid);
        }
        let comm = self.name(raw.header.tid, raw.comm);
        out.push(Event::Sqlite(Sqlite::Lock(SqliteLock {
            ts_ns: raw.header.ts_ns,
            pid: raw.header.pid,
            tid: raw.header.tid,
            file,
            change,
            start: raw.start,
            end: raw.end,
            traced: raw.flags & LOCK_TRACED != 0,
            older: false,
            comm,
            sql: self.texts.id(raw.sql),
        })));
    }

    /// Takes up a file: its name, and who holds locks on it already.
    fn file(&mut self, raw: &LockRaw, out: &mut Vec<Event>) -> Option<FileId> {
        if self.files.len() >= MAX_FILES {
            self.files.clear();
        }
        let path = self.paths.remove(&raw.file);
        let role = if raw.start >= PENDING_BYTE { FileRole::Database } else { FileRole::Shm };
        let database = match (role, path) {
            (FileRole::Database, Some(path)) => Some(path),
            (FileRole::Shm, Some(path)) => path.strip_suffix("-shm").map(str::to_owned),
            (_, None) => Some(format!("(inode {})", raw.file.ino)),
        };
        let Some(database) = database else {
            // Bytes 120 to 128 of some other file.
            self.files.insert(raw.file, None);
            return None;
        };
        let file = self.n_files;
        self.n_files += 1;
        self.files.insert(raw.file, Some(file));
        let inode = match role {
            FileRole::Database => Some(raw.file.ino),
            FileRole::Shm => inode_of(raw.header.pid, &database, raw.file.ino),
        };
        let ts_ns = raw.header.ts_ns;
        out.push(Event::Sqlite(Sqlite::File(SqliteFile { ts_ns, file, role, database, inode })));
        // Taken first: what is given back while we read happens after this moment, and is not taken for still held.
        let at_ns = monotonic_ns();
        // What cannot be read holds nothing.
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let locks = held::on(raw.file, &locks);
        if !locks.is_empty() {
            self.found.push(Found { file, at_ns, n_drains: 0, locks });
        }
        Some(file)
    }

    fn sleep(&mut self, raw: &SleepRaw, out: &mut Vec<Event>) {
        let pid = raw.header.pid;
        // Of a process that is gone nothing speaks against the sleep being what it looks like.
        let stack = without_time(raw.stack, raw.requested_ns);
        if self.callers.is_sqlite(pid, &stack, raw.header.ts_ns) == Some(false) {
            return;
        }
        out.push(Event::Sqlite(Sqlite::Sleep(SqliteSleep {
            start_ns: raw.enter_ns,
            end_ns: raw.header.ts_ns,
            pid,
            tid: raw.header.tid,
            requested_ns: raw.requested_ns,
            sql: self.texts.id(raw.sql),
        })));
    }

    /// The thread's name, when it is new.
    fn name(&mut self, tid: u32, comm: [u8; 16]) -> Option<String> {
        if self.names.get(&tid) == Some(&comm) {
            return None;
        }
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(tid, comm);
        Some(printable(&comm))
    }
}

/// A lock that is older than our view of its file.
fn older(found: &Found, held: &held::Held) -> Event {
    let comm = procfs::stat(held.pid).ok().map(|stat| printable(stat.comm.as_bytes()));
    Event::Sqlite(Sqlite::Lock(SqliteLock {
        ts_ns: found.at_ns,
        pid: held.pid,
        tid: held.pid,
        file: found.file,
        change: held.change,
        start: held.start,
        end: held.end,
        traced: false,
        older: true,
        comm,
        sql: None,
    }))
}

/// Inode of the database that this `-shm` belongs to, which may have been deleted since.
fn inode_of(pid: u32, database: &str, shm: u64) -> Option<u64> {
    let inode_at =
        |path: &str| fs::metadata(procfs::path(pid, &format!("root{path}"))).ok().map(|file| file.ino());
    if inode_at(&format!("{database}-shm")) == Some(shm)
        && let Some(inode) = inode_at(database)
    {
        return Some(inode);
    }
    let deleted = format!("{database} (deleted)");
    let descriptors = fs::read_dir(procfs::path(pid, "fd")).ok()?.flatten().map(|entry| entry.path());
    let is_it =
        |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.as_os_str() == deleted.as_str());
    descriptors
        .take(MAX_DESCRIPTORS)
        .find(is_it)
        .and_then(|path| fs::metadata(path).ok())
        .map(|file| file.ino())
}

/// The clock of all events.
fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let ns = |now: nix::sys::time::TimeSpec| {
        u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
    };
    now.map_or(0, ns)
}

/// A NUL-padded name as printable ASCII: it is a program's choice and may hold anything.
fn printable(comm: &[u8]) -> String {
    comm.iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use probe_common::{header::Header, sqlite::STACK_WORDS};
    use zerocopy::IntoBytes as _;

    use super::*;

    fn lock(ino: u64, start: u64, kind: u32, ret: i32) -> LockRaw {
        // A process that cannot be, so that nothing of this machine enters.
        let header = Header { ts_ns: 5, pid: u32::MAX, tid: 7, kind: Kind::SqliteLock as u32, reserved: 0 };
        let comm = *b"py\x1b[m\0\0\0\0\0\0\0\0\0\0\0";
        let file = file::FileId { ino, dev: u32::MAX, generation: 1 };
        LockRaw { header, file, start, end: start, kind, ret, flags: LOCK_TRACED, reserved: 0, comm, sql: 0 }
    }

    fn decode(decoder: &mut Decoder, kind: Kind, record: &[u8]) -> Vec<Event> {
        let mut out = Vec::new();
        assert_eq!(decoder.decode(kind, record, &mut out), Ok(true));
        out
    }

    /// A file is told once, a name when it is new, and every change of a lock as what it is.
    #[test]
    fn files_and_names_are_told_once() {
        let mut decoder = Decoder::default();
        let first = decode(&mut decoder, Kind::SqliteLock, lock(1, PENDING_BYTE, F_RDLCK, 0).as_bytes());
        let [Event::Sqlite(Sqlite::File(file)), Event::Sqlite(Sqlite::Lock(granted))] = &first[..] else {
            panic!("{first:?}")
        };
        assert_eq!((file.role, file.database.as_str()), (FileRole::Database, "(inode 1)"));
        assert_eq!((granted.comm.as_deref(), granted.change), (Some("py?[m"), LockChange::Read));
        for (kind, ret, change) in [
            (F_WRLCK, 0, LockChange::Write),
            (F_WRLCK, -11, LockChange::WriteRefused),
            (F_RDLCK, -11, LockChange::ReadRefused),
            (F_UNLCK, 0, LockChange::Release),
        ] {
            let next = decode(&mut decoder, Kind::SqliteLock, lock(1, PENDING_BYTE, kind, ret).as_bytes());
            let [Event::Sqlite(Sqlite::Lock(next))] = &next[..] else { panic!("{next:?}") };
            assert_eq!((next.change, &next.comm, next.file), (change, &None, 0));
        }
        let other = decode(&mut decoder, Kind::SqliteLock, lock(2, 120, F_WRLCK, 0).as_bytes());
        assert!(matches!(&other[0], Event::Sqlite(Sqlite::File(file)) if file.file == 1));
    }

    /// Where nobody can be asked who slept, it was what it looks like.
    #[test]
    fn sleeps_of_the_gone_count() {
        let header = Header { ts_ns: 9, pid: u32::MAX, tid: 7, kind: Kind::SqliteSleep as u32, reserved: 0 };
        let raw = SleepRaw { header, enter_ns: 4, requested_ns: 1_000_000, sql: 0, stack: [1; STACK_WORDS] };
        let out = decode(&mut Decoder::default(), Kind::SqliteSleep, raw.as_bytes());
        assert!(matches!(
            out[..],
            [Event::Sqlite(Sqlite::Sleep(SqliteSleep { start_ns: 4, end_ns: 9, .. }))]
        ));
    }
}
