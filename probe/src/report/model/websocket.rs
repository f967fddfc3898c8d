//! WebSockets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// The numbers of the WebSockets of one route in one phase.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct WebSocket {
    /// `/route/{parameter}`.
    pub route: String,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// Opened.
    pub connections: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages to clients.
    pub messages_out: u64,
    /// Payload from clients, bytes as on the wire.
    pub bytes_in: u64,
    /// Payload to clients, bytes as on the wire.
    pub bytes_out: u64,
    /// From the last byte of a message sent to its acknowledgement.
    pub delivery_s: Distribution,
    /// From a ping of the server sent to its pong readable.
    pub ping_rtt_s: Distribution,
    /// From the first readable byte of a client's message to the last byte sent of the server's next one.
    pub reply_s: Distribution,
    /// Opened in the place of one that had ended without a close frame.
    pub reconnects: u64,
}
