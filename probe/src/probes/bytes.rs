//! Bytes of a connection on their way from the room that sees them to the room that understands them.

use std::net::SocketAddr;

use crate::event::ConnId;

/// Whose part the traced tree plays on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It was asked: requests are read.
    Server,
    /// It asks: requests are written.
    Client,
}

/// Where a connection leads; known before its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The connection.
    pub conn: ConnId,
    /// The tree's part.
    pub role: Role,
    /// The other end, or the Unix-domain listener that the connection came in by.
    pub at: Place,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Net(SocketAddr),
    /// The path of a Unix-domain socket, printable; empty for one without a name.
    Path(String),
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Read by the application.
    In,
    /// Written by the application.
    Out,
}

/// One read or write that moved at least one byte. Times in `CLOCK_MONOTONIC` nanoseconds.
#[derive(Debug, PartialEq)]
pub struct Bytes<'a> {
    /// Read or write.
    pub direction: Direction,
    /// The tree's part on this connection.
    pub role: Role,
    /// The connection.
    pub conn: ConnId,
    /// The process that called.
    pub pid: u32,
    /// The thread; 0 where that is not known.
    pub tid: u32,
    /// Local port; 0 on Unix-domain sockets.
    pub port: u16,
    /// Entry of the call, where it was seen.
    pub enter_ns: Option<u64>,
    /// Return of the call.
    pub exit_ns: u64,
    /// Reads: the first byte became readable.
    pub arrival_ns: Option<u64>,
    /// Reads: the peer had acknowledged everything sent before.
    pub acked_ns: Option<u64>,
    /// The call could not have slept.
    pub nonblocking: bool,
    /// Writes: TCP sequence number behind the last byte, where it is known.
    pub end_seq: Option<u32>,
    /// Bytes moved: `head.len()`, then a gap that was not captured, then `tail.len()`.
    pub bytes: u64,
    /// The first of them.
    pub head: &'a [u8],
    /// The last of them, where the head does not hold everything.
    pub tail: &'a [u8],
}

/// A small write is copied to the kernel in microseconds, while its return can be delayed by whoever it wakes (measured on
/// loopback, where the receiver runs inside the call). So the entry of the call is the better time of its last byte, up to
/// this size (one segmentation-offload packet).
const SMALL_WRITE: u64 = 64 * 1024;

impl Bytes<'_> {
    /// When the last byte of a write was handed to TCP.
    pub const fn sent_ns(&self) -> u64 {
        match self.enter_ns {
            Some(enter_ns) if self.nonblocking && self.bytes <= SMALL_WRITE => enter_ns,
            _ => self.exit_ns,
        }
    }
}
