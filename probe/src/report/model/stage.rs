//! Files, checkpoints, stages and documents.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// Calls of one kind on files of one class.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct FileCalls {
    /// `database`, `wal`, `journal`, `checkpoint`, `upload`, `log` or `other`.
    pub class: String,
    /// `open`, `read`, `write`, `fsync`, `truncate`, `close`, `rename`, `link` or `unlink`.
    pub op: String,
    /// Calls that returned.
    pub calls: u64,
    /// Of these, failed.
    pub errors: u64,
    /// From entry to return.
    pub latency_s: Distribution,
    /// Bytes moved.
    pub bytes: u64,
}

/// The files of one stage rule.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The rule's pattern.
    pub pattern: String,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// Nobody gave the rule.
    #[serde(default)]
    pub guessed: bool,
    /// Put in place, edits included.
    pub files: u64,
    /// Of these, by requests that edit.
    pub edits: u64,
    /// Written, but never put in place.
    pub never_placed: u64,
    /// Of `files`, with bytes that could be written unseen, through a mapping.
    pub mapped: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Calls that synced.
    pub fsyncs: u64,
    /// From open to in place.
    pub total_s: Distribution,
    /// Of that, inside system calls.
    pub io_s: Distribution,
    /// Of that, inside the writing calls.
    pub write_s: Distribution,
    /// Inside the syncing calls, of files that had some.
    pub fsync_s: Distribution,
    /// Inside the rename, of files that had one.
    pub rename_s: Distribution,
    /// Failed calls by the name of their error.
    pub errors: BTreeMap<String, u64>,
    /// How much larger the files were at the end than at the beginning of the run: 0.5 for half as large again.
    pub growth_ratio: Option<f64>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Its number, where names or rules give one.
    pub index: Option<u32>,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// Times that it ended, repeated ones included.
    pub documents: u64,
    /// Of these, for a document that had it before.
    pub repeated: u64,
    /// Of these, with a beginning that was not seen: counted, in no distribution.
    pub untimed: u64,
    /// From its beginning to its end.
    pub time_s: Distribution,
    /// From the end of the stage before to its first activity.
    pub transition_s: Distribution,
    /// Where its time went, ratios of `time_s`; null where that is not known.
    pub shares: Shares,
}

/// See [`Stage::shares`].
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Shares {
    /// In calls on files, of the thread that ended the stage.
    pub file_io: Option<f64>,
    /// Waiting for locks of SQLite, of the same.
    pub sqlite_wait: Option<f64>,
    /// With a busy GPU, whoever used it: utilisation over the stage's time, of the GPU that was busiest in it.
    pub gpu_busy: Option<f64>,
    /// In none of those that are known; 0 where they overlap to more than the whole.
    pub other: Option<f64>,
}

/// All documents together.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Pipeline {
    /// See [`super::Report::phases`].
    pub phase: String,
    /// Nobody gave the rules by which stages are told.
    #[serde(default)]
    pub guessed: bool,
    /// Documents of which anything was seen.
    pub documents: u64,
    /// Of these, seen from their beginning.
    pub begun: u64,
    /// With their last stage done.
    pub completed: u64,
    /// Completed among those that were seen from their beginning, or among all where nothing tells a beginning.
    pub completion_ratio: Option<f64>,
    /// Completed documents.
    pub documents_per_min: Option<f64>,
    /// Unfinished at the end.
    pub in_flight: u64,
    /// Went on after an interruption.
    pub resumed: u64,
    /// Stages that ran for a document that had them before.
    pub repeated_stages: u64,
    /// Beginning to the last stage's end.
    pub time_s: Distribution,
    /// From a stage's end to the next one's first activity, all stages together.
    pub transition_s: Distribution,
    /// Unfinished at the end, the longest quiet ones first.
    pub stuck: Vec<Stuck>,
}

/// A document that was unfinished at the end.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Stuck {
    /// The document.
    pub doc: String,
    /// The last stage that it finished.
    pub after: Option<String>,
    /// Since the last that was seen of it.
    pub quiet_s: f64,
}

/// Calls on files that took 50 ms or longer.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct SlowCalls {
    /// See [`super::Report::phases`].
    pub phase: String,
    /// All of them.
    pub calls: u64,
    /// Time in them, all together.
    pub took_s: f64,
    /// The slowest, slowest first.
    pub slowest: Vec<SlowCall>,
}

/// A call on a file.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct SlowCall {
    /// The file; empty where its name is not known.
    pub path: String,
    /// See [`FileCalls::op`].
    pub op: String,
    /// See [`FileCalls::class`].
    pub class: String,
    /// The thread.
    pub tid: u32,
    /// From the begin of the run to its return.
    pub at_s: f64,
    /// Entry to return.
    pub took_s: f64,
}

/// A block device that the tree wrote to.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Disk {
    /// Its name.
    pub device: String,
    /// Share of the run in which it had something to do, as `iostat` has it.
    pub util_ratio: Option<f64>,
    /// Requests that it finished.
    pub reads: u64,
    /// Requests that it finished.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Mean time of a read, queueing included.
    pub read_s: Option<f64>,
    /// Mean time of a write, queueing included.
    pub write_s: Option<f64>,
    /// Requests in its queue, on average.
    pub queue: Option<f64>,
    /// Its requests by kind, of the whole disk and of everyone on the machine; empty where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<DiskRequests>,
}

/// Requests of one kind of a disk, whoever asked for them.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct DiskRequests {
    /// `read`, `write`, `flush` or `discard`.
    pub op: String,
    /// Requests that ended; not the writes without bytes that only ask for a flush, which `Disk::writes` counts.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// From the making of a request to its end.
    pub latency_s: Distribution,
    /// Of that, until it was given to the device; only those of which that was seen.
    pub queue_s: Distribution,
}

/// Writes that the kernel held back because too much that was written was not on its disk yet.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct WriteStalls {
    /// Writes that were held back.
    pub calls: u64,
    /// For how long: from the first pause of the call to its return.
    pub stall_s: Distribution,
}
