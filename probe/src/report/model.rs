//! `report.json`, schema `probe.report/1`: what a run has to say, as data.
//!
//! Times are seconds, sizes bytes, rates per second, ratios 0 to 1. What was not measured is null, never 0;
//! sections of probes that do not exist are left out. Fields may be added within a schema version, never
//! change their meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{BlindSpot, EndedBy};
use crate::slo::{Judgement, Verdict};

/// Version of the format.
pub const SCHEMA: &str = "probe.report/1";

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What ran.
    pub run: Run,
    /// How well it could be seen, and what seeing cost.
    pub health: Health,
    /// The parts of the run.
    pub phases: Vec<Phase>,
    /// How connections came in.
    pub accept: Accept,
    /// By name.
    pub endpoints: Vec<Endpoint>,
    /// All endpoints together.
    pub overall: Endpoint,
    /// Socket calls of the target.
    pub syscalls: Vec<Syscall>,
    /// The verdicts, in the order of the profile.
    pub objectives: Vec<Judgement>,
    /// Doubts about the measurement, each with what to do about it.
    pub warnings: Vec<String>,
    /// Of the run.
    pub verdict: Verdict,
}

/// See [`Report::run`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the run.
    pub id: String,
    /// Wall clock at its start, RFC 3339, UTC.
    pub started_at: String,
    /// Its length.
    pub duration_s: f64,
    /// Why it ended; null when that is not known.
    pub ended_by: Option<EndedBy>,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// What was watched.
    pub target: Target,
    /// What it was judged by.
    pub profile: ProfileId,
}

/// See [`Run::target`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The process that was asked for.
    pub pid: u32,
    /// Its command line.
    pub cmdline: String,
    /// Processes that were traced, in all; null when that is not known.
    pub processes: Option<u32>,
}

/// See [`Run::profile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileId {
    /// The profile's name.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// See [`Report::health`]. What only the end of a run tells is null for a run that has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Records received from the kernel.
    pub events: u64,
    /// Records lost.
    pub lost: Option<u64>,
    /// Lost among all.
    pub loss_ratio: Option<f64>,
    /// Only causes that happened.
    pub lost_by_cause: BTreeMap<String, u64>,
    /// Time in probe's kernel programs as a share of one core.
    pub bpf_cpu_ratio: Option<f64>,
    /// probe's own CPU time as a share of one core.
    pub agent_cpu_ratio: Option<f64>,
    /// probe's own peak resident memory.
    pub agent_rss_bytes: Option<u64>,
    /// Until everything was in place.
    pub attach_s: Option<f64>,
    /// What could not be seen.
    pub blind_spots: Vec<BlindSpot>,
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// From the start of the run.
    pub start_s: f64,
    /// From the start of the run.
    pub end_s: f64,
    /// Objectives bind to it.
    pub judged: bool,
}

/// See [`Report::accept`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accept {
    /// One per port.
    pub listeners: Vec<Listener>,
}

/// The listeners of one port: what is accepted is known by port only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Local address; several are separated by a comma; null when the listener was gone at the end.
    pub addr: Option<String>,
    /// Local port.
    pub port: u16,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that ended before the application accepted them: their clients gave up.
    #[serde(default)]
    pub abandoned: u64,
    /// From ESTABLISHED to the return of accept.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `METHOD /route/{parameter}`, or `other` for all those past the profile's bound.
    pub endpoint: String,
    /// See [`Report::phases`].
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// A distribution of durations in seconds. All but `count` are null when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Shortest.
    pub min: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Percentiles by nearest rank.
    pub p50: Option<f64>,
    /// See `p50`.
    pub p90: Option<f64>,
    /// See `p50`.
    pub p95: Option<f64>,
    /// See `p50`.
    pub p99: Option<f64>,
    /// See `p50`.
    pub p999: Option<f64>,
    /// Longest.
    pub max: Option<f64>,
}
