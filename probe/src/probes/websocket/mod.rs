//! The websocket room: from the bytes of connections that have left HTTP to messages, pings and ends (RFC 6455).
//!
//! It has no kernel half: connections, bytes and acknowledgements are the socket room's. All of it is pure: bytes in,
//! events out, with bounded memory whatever comes. Payloads are counted, never kept.

mod decoder;
mod frame;

pub use decoder::{Decoder, Undecoded};
use probe_common::rooms::Rooms;

use super::Spec;

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "websocket",
    summary: "WebSocket messages on the tree's connections: counts, replies, delivery, pings",
    room: Rooms::NONE,
    needs: Rooms::SOCKET,
    hooks: &[],
    functions: &[],
};
