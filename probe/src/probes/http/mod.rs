//! The http room: from the bytes that the socket room hands up to requests and responses.
//!
//! It has no kernel half. All of it is pure: bytes in, events out, with bounded memory whatever comes.

mod conn;
mod decoder;
mod framing;
mod head;
mod host;
mod inbound;
mod outbound;

pub use decoder::{Decoder, Undecoded, Why};
use probe_common::rooms::Rooms;

use super::Spec;

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "http",
    summary: "HTTP/1.x requests and responses on the tree's connections, served and made",
    room: Rooms::NONE,
    needs: Rooms::SOCKET,
    hooks: &[],
    functions: &[],
};
