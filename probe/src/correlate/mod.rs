//! From events to what they mean: pure, no I/O, no clocks of its own.

mod gpu;
pub mod lock;
mod request;
pub mod stage;
mod websocket;
pub mod work;

pub use gpu::{GpuTimeline, Overlap};
pub use request::Correlator;
use stage::{CheckpointWrite, DocEnd, StageRun};
pub use websocket::Seen;

/// One request with its response, or what there was of them: the unit that is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Of a request that the tree made: whom it asked.
    pub outgoing: Option<String>,
    /// The method token.
    pub method: String,
    /// The target's path without query.
    pub path: String,
    /// The process that read the request.
    pub pid: u32,
    /// Final status; 0 when none was sent.
    pub status: u16,
    /// How it ended.
    pub ending: crate::event::Ending,
    /// Last byte of the response sent, or the moment the connection or the run ended.
    pub end_ns: u64,
    /// Where the time went; none when the start was not seen (the request arrived before the attach):
    /// such an exchange is counted but never timed.
    pub timing: Option<Timing>,
    /// Bytes of the request, head and body.
    pub bytes_in: u64,
    /// Bytes of the response, head and body.
    pub bytes_out: u64,
}

/// The parts of a request's latency; they follow one another and add up to it. Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Waited for the application to accept the connection (only the first request of one).
    pub accept_queue_ns: u64,
    /// Waited in the socket for the application to read its first byte.
    pub receive_queue_ns: u64,
    /// From the first read to the last read of the body.
    pub read_ns: u64,
    /// From there to the first byte of the response.
    pub app_ns: u64,
    /// From there to the last byte of the response.
    pub write_ns: u64,
}

impl Timing {
    /// From when to when the application had the request, where `end_ns` is its end.
    pub const fn in_app(&self, end_ns: u64) -> (u64, u64) {
        let to_ns = end_ns.saturating_sub(self.write_ns);
        (to_ns.saturating_sub(self.app_ns), to_ns)
    }

    /// Request latency: first byte readable to last byte sent.
    pub const fn latency_ns(&self) -> u64 {
        self.accept_queue_ns + self.receive_queue_ns + self.read_ns + self.app_ns + self.write_ns
    }
}

/// What correlation hands on.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A request was answered, aborted, or still open at the end of the run.
    Exchange(Exchange),
    /// A connection was accepted.
    Accept {
        /// The listener's port; 0 for a Unix-domain one.
        port: u16,
        /// The path of a Unix-domain listener.
        path: Option<String>,
        /// ESTABLISHED to the return of accept; none when the first was not seen.
        queue_wait_ns: Option<u64>,
        /// Connections in the queue just before.
        backlog: u32,
    },
    /// A connection ended before the application accepted it: its client gave up.
    Abandoned {
        /// The listener's port.
        port: u16,
    },
    /// A connection that the tree asked for did not come about.
    Unconnected {
        /// Whom it wanted to ask, `host:port`.
        to: String,
        /// Why.
        why: crate::event::NotConnected,
    },
    /// Something happened on a WebSocket of this path.
    WebSocket(std::sync::Arc<str>, Seen),
    /// Something about the locks of a SQLite database.
    Lock(lock::LockFinding),
    /// It became known for whom a thread did something with a database.
    Work(Box<work::Work>),
    /// A response reached its peer.
    Delivery {
        /// Method of the request that it answered.
        method: String,
        /// Path of the request that it answered.
        path: String,
        /// Last byte sent to last byte acknowledged.
        delivery_ns: u64,
    },
    /// A stage of a document ended.
    Stage(Box<StageRun>),
    /// A checkpoint file was written.
    Checkpoint(Box<CheckpointWrite>),
    /// A call on a file was slow.
    SlowCall(Box<crate::event::SlowCall>),
    /// The run ended with this document.
    Document(DocEnd),
    /// The run ended: what is known of all stages together.
    Stages {
        /// Their names in their order, with their numbers.
        order: Vec<(String, Option<u32>)>,
        /// Names of files that no rule matched, where no rule matched anything.
        near: Vec<String>,
        /// Documents that were too many to follow.
        dropped: u64,
    },
    /// The state of a GPU was read.
    Gpu(crate::event::Gpu),
    /// It was read what the processes use.
    Resources(crate::event::Resources),
}

impl Finding {
    /// When it happened, where it may be long before it was found.
    pub const fn ts_ns(&self) -> Option<u64> {
        match self {
            Self::Stage(run) => Some(run.end_ns),
            Self::Checkpoint(write) => Some(write.file.ts_ns),
            Self::Document(end) => Some(end.since_ns),
            Self::SlowCall(call) => Some(call.ts_ns),
            Self::Work(work) => Some(work.end_ns),
            _ => None,
        }
    }
}
