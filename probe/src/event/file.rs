//! What happened to the files of the tree, and what the application said of its stages itself.

use serde::{Deserialize, Serialize};

/// How a written file came to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placed {
    /// It was closed under it.
    Close,
    /// It was renamed to it.
    Rename,
    /// It was linked to it.
    Link,
    /// The process that wrote it ended, or executed another program.
    Exit,
    /// Not at all: it was still open when the run ended.
    Open,
    /// Not at all: it was deleted before it was closed.
    Removed,
    /// Not at all: the rename or link failed.
    Failed,
}

/// See [`super::Event::FileWritten`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileWritten {
    /// It is in place: the return of the last of close and rename.
    pub ts_ns: u64,
    /// The process that closed or renamed it.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The opening that this is about, unique in a run.
    pub file: u64,
    /// Its name now; bytes that are no UTF-8 as `\xff`, what could not be seen as `…`.
    pub path: String,
    /// The name under which it was written, where that is another.
    pub was: Option<String>,
    /// How it came to its name.
    pub placed: Placed,
    /// Entry of the open call; none when that was before the attach.
    pub opened_ns: Option<u64>,
    /// Return of the close; the end of the run when there was none.
    pub closed_ns: u64,
    /// Bytes written, which may be more than the file has.
    pub bytes: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Time inside the open call.
    pub open_ns: u64,
    /// Time inside the writing calls.
    pub write_ns: u64,
    /// Calls that synced.
    pub syncs: u64,
    /// Time inside them.
    pub sync_ns: u64,
    /// Time inside close.
    pub close_ns: u64,
    /// Time inside rename or link.
    pub rename_ns: u64,
    /// Calls that failed.
    pub errors: u32,
    /// `errno` of the last of them; 0 for none.
    pub errno: u32,
    /// It can be written through a shared mapping: some bytes and their time are not seen.
    pub is_mapped: bool,
    /// This opening was told before: these numbers are of all of it, and replace those.
    pub is_more: bool,
    /// Time of the thread in calls on files so far.
    pub io_ns: u64,
}

/// See [`super::Event::FileRead`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRead {
    /// Entry of the open call.
    pub ts_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its name, as in [`FileWritten`].
    pub path: String,
    /// Time of the thread in calls on files so far.
    pub io_ns: u64,
}

/// See [`super::Event::FileRemoved`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRemoved {
    /// The return of the call.
    pub ts_ns: u64,
    /// The process.
    pub pid: u32,
    /// Its name, as in [`FileWritten`].
    pub path: String,
}

/// See [`super::Event::SlowCall`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowCall {
    /// The return of the call.
    pub ts_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// `write`, `fsync`, …
    pub op: String,
    /// `database`, `checkpoint`, …
    pub class: String,
    /// The file's name, as in [`FileWritten`].
    pub path: String,
    /// Entry to return.
    pub took_ns: u64,
}

/// See [`super::Event::Marker`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// It was written.
    pub ts_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The stage's name.
    pub stage: String,
    /// The document; empty when the marker names none.
    pub doc: String,
    /// It begins; else it ends.
    pub is_begin: bool,
    /// Time of the thread in calls on files so far.
    pub io_ns: u64,
}
