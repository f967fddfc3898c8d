//! Numbers over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One endpoint's numbers over time.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Series {
    /// As in [`super::Endpoint`].
    pub endpoint: String,
    /// Length of each window: a second, doubled as often as it takes for no more than 120 of them.
    pub window_s: f64,
    /// In the order of time; windows in which nothing ended are left out.
    pub points: Vec<Point>,
}

/// What happened in one window.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Point {
    /// From the start of the run.
    pub start_s: f64,
    /// From the start of the run.
    pub end_s: f64,
    /// Answers that were sent to their end in it.
    pub requests: u64,
    /// Of these, with 5xx.
    pub errors: u64,
    /// Requests whose connection ended before a full answer.
    pub aborted: u64,
    /// Answers per second.
    pub rate_per_s: f64,
    /// Of the latency of answers below 500, to 6.25 %; null when there were none.
    pub p50_s: Option<f64>,
    /// See `p50_s`.
    pub p95_s: Option<f64>,
}

/// See [`super::Report::lock_waits`].
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct LockWaitPoint {
    /// From the start of the run.
    pub start_s: f64,
    /// From the start of the run.
    pub end_s: f64,
    /// Waits that ended in it.
    pub waits: u64,
    /// The longest of these; null when there were none.
    pub longest_s: Option<f64>,
    /// Threads that waited, on average: 1 is one that waited all the time.
    pub waiting_ratio: f64,
}
