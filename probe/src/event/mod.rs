//! What was seen, decoded: owned plain data without kernel layout, bodies, query strings or secrets.
//!
//! This is also what `--record` writes. Everything right of it ([`crate::correlate`],
//! [`crate::aggregate`], [`crate::slo`], [`crate::report`]) runs on a recording exactly as it ran live.
//! All times are `CLOCK_MONOTONIC` nanoseconds.

mod budget;
mod condition;
mod file;
mod gpu;
mod http;
mod phase;
mod process;
mod resources;
mod sqlite;
mod summary;
mod took;
mod websocket;

use serde::{Deserialize, Serialize};

pub use budget::{Budget, GivenUp, Sample, StepDown};
pub use condition::{Condition, ConditionProof, LossProof, Proof, RateProof, RttProof};
pub use file::{FileRead, FileRemoved, FileWritten, Marker, Placed, SlowCall};
pub use gpu::{
    Busy, Gpu, GpuCounters, GpuDevice, GpuInstance, GpuLook, GpuLost, GpuProcess, GpuSlow, Throttle,
};
pub use http::{Accepted, Closed, Ending, Listen, NotConnected, Request, Response, Unconnected};
pub use phase::{Abort, Course, Load, LoadOutcome, Phase};
pub use process::{Exec, Exit, Fork};
pub use resources::{DiskLook, MachineLook, ProcessLook, Resources};
pub use sqlite::{
    FileId, FileRole, LockChange, SqlId, Sqlite, SqliteCheckpoint, SqliteFile, SqliteLock, SqliteMutex,
    SqliteSleep, SqliteStatement, SqliteText,
};
pub use summary::{BlindSpot, DiskRequests, DiskStats, EndedBy, FileStats, Listener, Summary, SyscallStats};
pub use took::Took;
pub use websocket::{CloseFrame, Message, MessageAcked, Pong};

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
    /// A request was read (or made), whole or as far as it came.
    Request(Request),
    /// A response was sent (or read), whole or as far as it came.
    Response(Response),
    /// A connection ended.
    Closed(Closed),
    /// A TCP connection that the tree asked for did not come about.
    Unconnected(Unconnected),
    /// A WebSocket message was read or sent whole.
    Message(Message),
    /// The client acknowledged a message.
    MessageAcked(MessageAcked),
    /// The client answered a ping.
    Pong(Pong),
    /// Either side announced the end of a WebSocket.
    CloseFrame(CloseFrame),
    /// A phase of the run began.
    Phase(Phase),
    /// A load command ended.
    Load(Load),
    /// The network conditions of a phase are gone.
    Condition(Condition),
    /// A rule ended the run early.
    Abort(Abort),
    /// The run gave up a part of its view, to stay within its budget.
    StepDown(StepDown),
    /// A file was written and closed, or came to another name.
    FileWritten(FileWritten),
    /// A checkpoint or an upload was opened for reading.
    FileRead(FileRead),
    /// A checkpoint or an upload was deleted.
    FileRemoved(FileRemoved),
    /// A call on a file took long.
    SlowCall(SlowCall),
    /// The application named one of its stages.
    Marker(Marker),
    /// The state of a GPU was read.
    Gpu(Gpu),
    /// Something happened to a SQLite database.
    Sqlite(Sqlite),
    /// It was read what the processes use.
    Resources(Resources),
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
            Self::Unconnected(unconnected) => unconnected.ts_ns,
            Self::Message(message) => message.last_ns,
            Self::MessageAcked(acked) => acked.acked_ns,
            Self::Pong(pong) => pong.arrived_ns,
            Self::CloseFrame(close) => close.ts_ns,
            Self::Phase(phase) => phase.ts_ns,
            Self::Load(load) => load.ts_ns,
            Self::Condition(condition) => condition.ts_ns,
            Self::Abort(abort) => abort.ts_ns,
            Self::StepDown(step) => step.ts_ns,
            Self::FileWritten(file) => file.ts_ns,
            Self::FileRead(read) => read.ts_ns,
            Self::FileRemoved(removed) => removed.ts_ns,
            Self::SlowCall(call) => call.ts_ns,
            Self::Marker(marker) => marker.ts_ns,
            Self::Gpu(gpu) => gpu.ts_ns(),
            Self::Sqlite(sqlite) => sqlite.ts_ns(),
            Self::Resources(resources) => resources.ts_ns,
        }
    }
}
