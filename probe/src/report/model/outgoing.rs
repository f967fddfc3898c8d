//! The requests that the target made itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// The requests of one kind to one server, in one phase.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Outgoing {
    /// `METHOD host:port /template`, or `other` for all those past the profile's bound; `connect host:port (refused)`
    /// for calls that did not get a connection (also: timed out, given up, unreachable).
    pub endpoint: String,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// Answers that were read to their end.
    pub requests: u64,
    /// Of these, with 5xx.
    pub errors: u64,
    /// Requests whose connection ended before a full answer, whoever ended it, or did not come about.
    pub aborted: u64,
    /// Requests that were open when the run ended.
    pub in_flight: u64,
    /// Answers by class of status (`2xx`); only classes that happened.
    pub statuses: BTreeMap<String, u64>,
    /// Answers per second of the phase; null for a phase without length.
    pub rate_per_s: Option<f64>,
    /// From the first byte of the request sent to the last byte of the answer read, of answers below 500.
    pub latency_s: Distribution,
    /// The same of answers with 5xx.
    pub failed_latency_s: Distribution,
    /// The parts of `latency_s`: sending the request.
    pub send_s: Distribution,
    /// From there to the first byte of the answer read.
    pub wait_s: Distribution,
    /// Reading the answer.
    pub receive_s: Distribution,
    /// Requests, heads and bodies.
    pub bytes_out: u64,
    /// Answers, heads and bodies.
    pub bytes_in: u64,
}
