//! What happened on the connections of the tree: accepts, requests, responses.

use serde::{Deserialize, Serialize};

use super::ConnId;

/// See [`super::Event::Listen`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listen {
    /// When.
    pub ts_ns: u64,
    /// Which process.
    pub pid: u32,
    /// The TCP port.
    pub port: u16,
}

/// See [`super::Event::Accepted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The return of the accept call.
    pub ts_ns: u64,
    /// The new connection.
    pub conn: ConnId,
    /// The process that accepted it.
    pub pid: u32,
    /// The listener's port; 0 for a Unix-domain one.
    pub port: u16,
    /// The path of a Unix-domain listener, printable (`@` stands for the first byte of an abstract one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The handshake's end; none when it was before the attach.
    pub established_ns: Option<u64>,
    /// Connections that waited in the listener's queue just before this call took one.
    pub backlog: u32,
}

/// See [`super::Event::Request`]: one that the tree served, or made. Of the latter, "read" times are those of its being
/// sent, and "sent" times of its response those of its being read: what the tree did. Comes before the [`Response`] that answers it; responses answer the requests
/// of a connection in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The connection.
    pub conn: ConnId,
    /// The process that read it.
    pub pid: u32,
    /// The thread that read its first byte; 0 where that is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tid: u32,
    /// The server's port; 0 on Unix-domain sockets.
    pub port: u16,
    /// Of a request that the tree made: whom it asked, `host:port` or `unix:/path`, printable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<String>,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
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

/// See [`super::Event::Response`].
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

/// See [`super::Event::Unconnected`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unconnected {
    /// When.
    pub ts_ns: u64,
    /// Whom the tree wanted to ask: `host:port` by the name that it used on earlier connections, else `address:port`.
    pub to: String,
    /// Why there is no connection.
    pub why: NotConnected,
}

/// Why a connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotConnected {
    /// Nobody listens there.
    Refused,
    /// No answer came for as long as the kernel tries.
    TimedOut,
    /// No answer came for as long as the application waited.
    GivenUp,
    /// The network said that there is no way, or anything else.
    Unreachable,
}

impl NotConnected {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::GivenUp => "given up",
            Self::Unreachable => "unreachable",
        }
    }
}

/// See [`super::Event::Closed`].
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
