//! `report.json`, schema `probe.report/1`: what a run has to say, as data.
//!
//! Times are seconds, sizes bytes, rates per second, ratios 0 to 1. What was not measured is null, never 0;
//! sections of probes that do not exist are left out. Fields may be added within a schema version, never
//! change their meaning.

mod comparison;
mod condition;
mod gpu;
mod http;
mod outgoing;
mod resources;
mod run;
mod series;
mod sqlite;
mod stage;
mod websocket;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use comparison::{Comparison, LeftOut};
pub use condition::{Condition, ConditionRate};
pub use gpu::{Gpu, GpuHistory, GpuInstance, GpuOverlap, GpuPoint, GpuProcess, GpuStage};
pub use http::{Accept, Breakdown, Endpoint, Listener, Syscall};
pub use outgoing::Outgoing;
pub use resources::{DiskResources, ProcessResources, ResourceMoment, Resources};
pub use run::{Budget, BudgetStep, GpuLooks, Health, Phase, PhaseLoad, ProfileId, Run, Target};
pub use series::{LockWaitPoint, Point, Series};
pub use sqlite::{Checkpoints, Database, Deed, Holder, LockWaits, RequestWaits, Statement, WaitsOf, Whose};
pub use websocket::WebSocket;

pub use stage::{
    Checkpoint, Disk, DiskRequests, FileCalls, Pipeline, Shares, SlowCall, SlowCalls, Stage, Stuck,
    WriteStalls,
};

use crate::slo::{Judgement, Verdict};

/// Version of the format.
pub const SCHEMA: &str = "probe.report/1";

/// The whole report.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What ran.
    pub run: Run,
    /// How well it could be seen, and what seeing cost.
    pub health: Health,
    /// The parts of the run.
    pub phases: Vec<Phase>,
    /// The network conditions that were injected, by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How connections came in.
    pub accept: Accept,
    /// By name.
    pub endpoints: Vec<Endpoint>,
    /// All endpoints and phases together.
    pub overall: Endpoint,
    /// All endpoints together, by phase, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overall_by_phase: Vec<Endpoint>,
    /// The requests that the target made, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<Outgoing>,
    /// Numbers over time: all endpoints together, then each of the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series>,
    /// By route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub websockets: Vec<WebSocket>,
    /// Socket calls of the target.
    pub syscalls: Vec<Syscall>,
    /// SQLite databases that the target used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sqlite: Vec<Database>,
    /// Waits for their locks over time, all databases together; windows without any are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lock_waits: Vec<LockWaitPoint>,
    /// All documents together, by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipeline: Vec<Pipeline>,
    /// The stages in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// Checkpoint files, by the rule that tells them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Checkpoint>,
    /// Calls on files, by class of file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileCalls>,
    /// Those that took 50 ms or longer, by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow_calls: Vec<SlowCalls>,
    /// Writes of the tree that were held back because too much was dirty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_stalls: Option<WriteStalls>,
    /// The disks below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// What GPUs did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu: Vec<Gpu>,
    /// The same over time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_history: Vec<GpuHistory>,
    /// What the processes of the target used, by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resources>,
    /// The same over time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_history: Vec<ResourceMoment>,
    /// The verdicts, in the order of the profile.
    pub objectives: Vec<Judgement>,
    /// What the run was compared with, where the verdicts are those of a comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Doubts about the measurement, each with what to do about it.
    pub warnings: Vec<String>,
    /// Of the run.
    pub verdict: Verdict,
}

/// A distribution of durations in seconds. All but `count` are null when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
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
