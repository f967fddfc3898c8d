//! What a run knows beside its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Took};

/// What a run knows beside its events: written once, at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// First moment of the run.
    pub start_ns: u64,
    /// Last moment of the run.
    pub end_ns: u64,
    /// Wall clock at `start_ns`, RFC 3339, UTC.
    pub started_at: String,
    /// Name of this run, unique enough for a directory.
    pub run_id: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// What kind of machine it is: runs on others are not compared.
    #[serde(default)]
    pub machine: String,
    /// The process that was asked for.
    pub target_pid: u32,
    /// Its command line, printable, shortened.
    pub target_cmdline: String,
    /// Processes that were traced, in all.
    pub processes: u32,
    /// Why the run ended.
    pub ended_by: EndedBy,
    /// Records received from the kernel.
    pub events: u64,
    /// What was lost, by cause; only causes that happened.
    pub lost: std::collections::BTreeMap<String, u64>,
    /// Time in our kernel programs as a share of one core; none when it could not be measured.
    pub bpf_cpu_ratio: Option<f64>,
    /// Our own CPU time as a share of one core.
    pub agent_cpu_ratio: f64,
    /// Our own peak resident memory.
    pub agent_rss_bytes: u64,
    /// CPU time of the thread that looks at GPUs as a share of one core; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_cpu_ratio: Option<f64>,
    /// How its budget was kept; none where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Seconds from the start of the attach until everything was in place.
    pub attach_s: f64,
    /// What could not be seen.
    pub blind_spots: Vec<BlindSpot>,
    /// Connections whose bytes could not be decoded, upgraded ones apart: their requests are missing.
    #[serde(default)]
    pub undecoded_connections: u64,
    /// The tree's TCP listeners.
    pub listeners: Vec<Listener>,
    /// Statistics of the socket calls, from the kernel's histograms.
    pub syscalls: Vec<SyscallStats>,
    /// Statistics of the calls on files.
    #[serde(default)]
    pub files: Vec<FileStats>,
    /// How far the wall clock went otherwise than the run, seconds.
    #[serde(default)]
    pub clock_step_s: f64,
    /// For how long the machine was suspended, seconds.
    #[serde(default)]
    pub suspended_s: f64,
    /// What the block devices did on which the tree wrote files.
    #[serde(default)]
    pub disks: Vec<DiskStats>,
    /// For how long writes were held back because too much was dirty.
    #[serde(default)]
    pub write_stalls: Took,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// `--duration` was over.
    #[default]
    Duration,
    /// The last phase was over.
    Plan,
    /// A rule of the profile ended it early.
    Abort,
    /// SIGINT or SIGTERM.
    Signal,
    /// Every traced process is gone.
    TargetExit,
    /// Not known: the recording stops before the run's end.
    Unfinished,
}

/// Something that the run could not see.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct BlindSpot {
    /// What is not seen.
    pub what: String,
    /// Why not.
    pub why: String,
    /// What would help.
    pub remedy: String,
}

/// A TCP listener of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Local address.
    pub addr: std::net::IpAddr,
    /// Local port.
    pub port: u16,
    /// Packets that the kernel dropped at this listener during the run, nearly always because its queue was full: a SYN
    /// counts once, a handshake's last ACK twice, and a client repeats either. As `ss -lntm` shows them; none when the
    /// kernel's socket statistics could not be read.
    pub overflows: Option<u64>,
    /// The longest that its queue was when looked at, once a second and at the end. (Every accept tells the
    /// queue's length too, but a server that never accepts has none.)
    #[serde(default)]
    pub backlog_seen: u32,
    /// Room in the accept queue (the application's `listen` argument, capped by `net.core.somaxconn`).
    pub backlog_limit: Option<u32>,
}

/// Socket calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyscallStats {
    /// `accept`, `recv` or `send`.
    pub op: String,
    /// `server` or `client`.
    pub role: String,
    /// `blocking` or `nonblocking`.
    pub mode: String,
    /// Calls that returned.
    pub calls: u64,
    /// Of these, with EAGAIN.
    pub would_block: u64,
    /// Of these, failed otherwise.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// How long they took.
    #[serde(flatten)]
    pub took: Took,
}

/// Calls of one kind on files of one class; as in [`SyscallStats`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStats {
    /// `database`, `wal`, `journal`, `checkpoint`, `upload`, `log` or `other`.
    pub class: String,
    /// `open`, `read`, `write`, `fsync`, `truncate`, `close`, `rename`, `link` or `unlink`.
    pub op: String,
    /// Calls that returned.
    pub calls: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// How long they took.
    #[serde(flatten)]
    pub took: Took,
}

/// What a block device did during the run, whoever asked for it (`/proc/diskstats`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStats {
    /// Its name.
    pub device: String,
    /// Requests that it finished.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Sum of the time of reads, queueing included, milliseconds.
    pub read_ms: u64,
    /// Requests that it finished.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// As `read_ms`.
    pub write_ms: u64,
    /// Time with at least one request, milliseconds.
    pub busy_ms: u64,
    /// That time, multiplied by the number of requests at each moment.
    pub queue_ms: u64,
    /// Its requests by kind, of the whole disk where this is a part of one; empty where they were not watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<DiskRequests>,
}

/// Requests of one kind of a disk, whoever asked for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRequests {
    /// `read`, `write`, `flush` or `discard`.
    pub op: String,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// From the making of a request to its end.
    pub took: Took,
    /// Of that, until it was given to the device; only those of which that was seen.
    pub queued: Took,
}
