//! What happened on WebSockets.

use serde::{Deserialize, Serialize};

use super::ConnId;

/// See [`super::Event::Message`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The connection.
    pub conn: ConnId,
    /// From the client.
    pub inbound: bool,
    /// Payload as it was on the wire, compressed where it was, over all frames.
    pub bytes: u64,
    /// Inbound: its first byte became readable, none when that was not seen. Outbound: its first byte was sent.
    pub first_ns: Option<u64>,
    /// Its last byte was read, or sent.
    pub last_ns: u64,
}

/// See [`super::Event::MessageAcked`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageAcked {
    /// The connection.
    pub conn: ConnId,
    /// The message's last byte was sent.
    pub sent_ns: u64,
    /// The peer had acknowledged it.
    pub acked_ns: u64,
}

/// See [`super::Event::Pong`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// The connection.
    pub conn: ConnId,
    /// The ping that it answers was sent.
    pub sent_ns: u64,
    /// It became readable.
    pub arrived_ns: u64,
}

/// See [`super::Event::CloseFrame`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloseFrame {
    /// The connection.
    pub conn: ConnId,
    /// When.
    pub ts_ns: u64,
}
