//! What was seen, decoded: owned plain data without kernel layout, bodies, query strings or secrets.
//!
//! This is also what `--record` writes. Everything right of it ([`crate::correlate`],
//! [`crate::aggregate`], [`crate::slo`], [`crate::report`]) runs on a recording exactly as it ran live.
//! All times are `CLOCK_MONOTONIC` nanoseconds.

use serde::{Deserialize, Serialize};

/// A connection of this run; never reused.
pub type ConnId = u64;

/// One thing that happened in the traced tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A process came into being.
    Fork(Fork),
    /// A process replaced its program.
    Exec(Exec),
    /// A process ended.
    Exit(Exit),
    /// The tree began to listen on a port.
    Listen(Listen),
    /// `accept` returned a connection.
    Accepted(Accepted),
    /// A request was read, whole or as far as it came.
    Request(Request),
    /// A response was sent, whole or as far as it came.
    Response(Response),
    /// A connection ended.
    Closed(Closed),
}

impl Event {
    /// The latest moment that this event knows of.
    pub const fn ts_ns(&self) -> u64 {
        match self {
            Self::Fork(fork) => fork.ts_ns,
            Self::Exec(exec) => exec.ts_ns,
            Self::Exit(exit) => exit.ts_ns,
            Self::Listen(listen) => listen.ts_ns,
            Self::Accepted(accepted) => accepted.ts_ns,
            Self::Request(request) => request.last_read_ns,
            Self::Response(response) => response.last_send_ns,
            Self::Closed(closed) => closed.ts_ns,
        }
    }
}

/// See [`Event::Fork`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// When.
    pub ts_ns: u64,
    /// The parent process.
    pub pid: u32,
    /// The new process.
    pub child_pid: u32,
}

/// See [`Event::Exec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// When.
    pub ts_ns: u64,
    /// Which process.
    pub pid: u32,
    /// Its name from now on, printable.
    pub comm: String,
}

/// See [`Event::Exit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub ts_ns: u64,
    /// Which process.
    pub pid: u32,
}

/// See [`Event::Listen`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listen {
    /// When.
    pub ts_ns: u64,
    /// Which process.
    pub pid: u32,
    /// The TCP port.
    pub port: u16,
}

/// See [`Event::Accepted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The return of the accept call.
    pub ts_ns: u64,
    /// The new connection.
    pub conn: ConnId,
    /// The process that accepted it.
    pub pid: u32,
    /// The listener's port.
    pub port: u16,
    /// The handshake's end; none when it was before the attach.
    pub established_ns: Option<u64>,
    /// Connections that waited in the listener's queue just before this call took one.
    pub backlog: u32,
}

/// See [`Event::Request`]. Comes before the [`Response`] that answers it; responses answer the requests
/// of a connection in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The connection.
    pub conn: ConnId,
    /// The process that read it.
    pub pid: u32,
    /// The server's port.
    pub port: u16,
    /// The method token.
    pub method: String,
    /// The target's path, printable ASCII, never with a query string.
    pub path: String,
    /// The first byte became readable; none when that was not seen.
    pub arrival_ns: Option<u64>,
    /// The return of the read that brought its first byte.
    pub first_read_ns: u64,
    /// The return of the read that brought its last byte (so far).
    pub last_read_ns: u64,
    /// Bytes of head and body.
    pub bytes: u64,
    /// The whole body was read.
    pub complete: bool,
    /// When the peer had acknowledged everything that was sent before this request, where that was seen:
    /// the end of the delivery of the response before it.
    pub acked_ns: Option<u64>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Its last byte was sent.
    Complete,
    /// The connection ended before that.
    Aborted,
    /// The run ended before that.
    InFlight,
}

/// See [`Event::Response`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The connection.
    pub conn: ConnId,
    /// The final status (never an interim 1xx, but 101 for an upgrade); 0 when none was sent.
    pub status: u16,
    /// The first byte was sent; none when none was.
    pub first_send_ns: Option<u64>,
    /// The last byte (so far) was sent, or the connection ended.
    pub last_send_ns: u64,
    /// Bytes of head and body.
    pub bytes: u64,
    /// How it ended.
    pub ending: Ending,
}

/// See [`Event::Closed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// When.
    pub ts_ns: u64,
    /// Which connection.
    pub conn: ConnId,
    /// The server's port.
    #[serde(default)]
    pub port: u16,
    /// By a reset.
    pub reset: bool,
    /// Its handshake was seen and no accept returned it.
    pub unaccepted: bool,
    /// As in [`Request::acked_ns`].
    pub acked_ns: Option<u64>,
}

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
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// `--duration` was over.
    #[default]
    Duration,
    /// SIGINT or SIGTERM.
    Signal,
    /// Every traced process is gone.
    TargetExit,
    /// Not known: the recording stops before the run's end.
    Unfinished,
}

/// Something that the run could not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A latency histogram in the kernel's buckets (see `probe_common::hist`), only those that hold calls.
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
    /// Sum of all durations.
    pub sum_ns: u64,
    /// Shortest.
    pub min_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// (bucket, calls).
    pub buckets: Vec<(u16, u64)>,
}
