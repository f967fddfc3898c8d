//! Listeners, endpoints, socket calls.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// See [`super::Report::accept`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Accept {
    /// One per port.
    pub listeners: Vec<Listener>,
}

/// The listeners of one port, or one Unix-domain listener: what is accepted is known by port only.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Listener {
    /// Local address; several are separated by a comma; null when the listener was gone at the end. `unix:/path` of a
    /// Unix-domain one.
    pub addr: Option<String>,
    /// Local port; 0 of a Unix-domain one.
    pub port: u16,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that ended before the application accepted them: their clients gave up.
    #[serde(default)]
    pub abandoned: u64,
    /// From ESTABLISHED to the return of accept. Not known of Unix-domain sockets.
    pub queue_wait_s: Distribution,
    /// Packets of handshakes dropped because the queue was full, as `ss -lntm` counts them; null when that could not be
    /// read.
    pub overflows: Option<u64>,
    /// Most connections found in the queue by an accept call.
    pub backlog_max: u32,
    /// Room in the queue.
    pub backlog_limit: Option<u32>,
}

/// The numbers of one endpoint in one phase.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Endpoint {
    /// `METHOD /route/{parameter}`, or `other` for all those past the profile's bound.
    pub endpoint: String,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// Answers that were sent to their end.
    pub requests: u64,
    /// Of these, with 5xx.
    pub errors: u64,
    /// Requests whose connection ended before a full answer.
    pub aborted: u64,
    /// Requests that were open when the run ended.
    pub in_flight: u64,
    /// Answers whose request's arrival was not seen: counted, in no distribution.
    pub untimed: u64,
    /// Answers by class of status (`2xx`); only classes that happened.
    pub statuses: BTreeMap<String, u64>,
    /// Answers per second of the phase; null for a phase without length.
    pub rate_per_s: Option<f64>,
    /// Of answers below 500.
    pub latency_s: Distribution,
    /// Of answers with 5xx.
    pub failed_latency_s: Distribution,
    /// The parts of `latency_s`.
    pub breakdown: Breakdown,
    /// From the last byte sent to its acknowledgement.
    pub delivery_s: Distribution,
    /// Requests, heads and bodies.
    pub bytes_in: u64,
    /// Responses, heads and bodies.
    pub bytes_out: u64,
}

/// The parts of a latency, in the order of time; their means add up to its mean.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Breakdown {
    /// Waited for the application to accept the connection.
    pub accept_queue_s: Distribution,
    /// Waited in the socket for the application to read.
    pub receive_queue_s: Distribution,
    /// Reading the request.
    pub read_s: Distribution,
    /// In the application.
    pub app_s: Distribution,
    /// Writing the response.
    pub write_s: Distribution,
}

/// Calls of one kind.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Syscall {
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
    /// From entry to return.
    pub latency_s: Distribution,
    /// Bytes moved.
    pub bytes: u64,
}
