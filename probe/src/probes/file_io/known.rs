//! One opening of a file: what is known of it, what it is for, and what is told of it.

use probe_common::file_io::{Class, FILE_MAPPED, OpenFile};

use super::decode::By;
use crate::{
    event::{FileWritten, Placed},
    profile::{Profile, StageBy},
};

/// An opening.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: u64,
    pub(super) open: OpenFile,
    pub(super) class: Class,
    pub(super) path: String,
    /// The name under which it was opened, once it has another.
    pub(super) was: Option<String>,
    pub(super) closed: Option<By>,
    /// The last rename or link, and how.
    pub(super) placed: Option<(By, Placed)>,
    pub(super) close_ns: u64,
    pub(super) rename_ns: u64,
    pub(super) is_told: bool,
    /// Its name was deleted while it was open.
    pub(super) is_removed: bool,
}

/// A written file as an event.
pub(super) fn written(id: u64, known: &Known) -> FileWritten {
    let open = &known.open;
    let closed = known.closed;
    let placed = known.placed.map(|(by, placed)| (by.ts_ns, by, placed));
    let last = match (closed, placed) {
        (Some(closed), Some((at, _, placed))) if closed.ts_ns > at => (closed, placed),
        (_, Some((_, by, placed))) => (by, placed),
        (Some(closed), None) => (closed, Placed::Close),
        (None, None) => (By { pid: open.pid, tid: open.pid, enter_ns: 0, ts_ns: 0, io_ns: 0 }, Placed::Open),
    };
    let (by, placed) = last;
    let placed = if known.is_removed { Placed::Removed } else { placed };
    FileWritten {
        ts_ns: by.ts_ns,
        pid: by.pid,
        tid: by.tid,
        file: id,
        path: known.path.clone(),
        was: known.was.clone(),
        placed,
        opened_ns: (open.opened_ns > 0).then_some(open.opened_ns),
        closed_ns: closed.map_or(by.ts_ns, |closed| closed.ts_ns),
        bytes: open.write_bytes,
        writes: open.writes,
        open_ns: open.open_ns,
        write_ns: open.write_ns,
        syncs: open.syncs,
        sync_ns: open.sync_ns,
        close_ns: known.close_ns,
        rename_ns: known.rename_ns,
        errors: open.errors,
        errno: open.errno,
        is_mapped: open.flags & FILE_MAPPED != 0,
        is_more: known.is_told,
        io_ns: by.io_ns,
    }
}

/// What a file is for, by its name.
pub(super) fn classify(profile: &Profile, path: &str) -> Class {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let stages = &profile.stages;
    if ends(&["-wal"]) {
        Class::Wal
    } else if ends(&["-journal"]) {
        Class::Journal
    } else if ends(&["-shm", ".db", ".db3", ".sqlite", ".sqlite3"]) {
        Class::Database
    } else if stages.file(path).is_some_and(|found| matches!(stages.rules[found.rule].by, StageBy::File(_)))
        || stages.is_beside(path)
    {
        Class::Checkpoint
    } else if stages
        .begins
        .as_ref()
        .is_some_and(|begins| begins.document(path).is_some() || begins.is_beside(path))
    {
        Class::Upload
    } else if ends(&[".log"]) || name.contains(".log.") {
        Class::Log
    } else if path.split('/').rev().skip(1).any(|folder| folder.starts_with("upload")) {
        Class::Upload
    } else {
        Class::Other
    }
}
