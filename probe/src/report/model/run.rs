//! What ran, and how well it could be seen.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;
use crate::event::{BlindSpot, EndedBy, LoadOutcome};

/// See [`super::Report::run`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Target {
    /// The process that was asked for.
    pub pid: u32,
    /// Its command line.
    pub cmdline: String,
    /// Processes that were traced, in all; null when that is not known.
    pub processes: Option<u32>,
}

/// See [`Run::profile`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ProfileId {
    /// The profile's name.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// See [`super::Report::health`]. What only the end of a run tells is null for a run that has none.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
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
    /// What seeing was allowed to cost; null in a run without a budget.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// Until everything was in place.
    pub attach_s: Option<f64>,
    /// What looking at GPUs cost; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuLooks>,
    /// What could not be seen.
    pub blind_spots: Vec<BlindSpot>,
}

/// See [`Health::budget`]. Costs are shares of one core, of probe and its kernel programs together.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Budget {
    /// What was allowed.
    pub limit: f64,
    /// It cost no more since the last step; null where that was not measured.
    pub kept: Option<bool>,
    /// What it cost since the last step; null where that was not measured.
    pub cost: Option<f64>,
    /// What was given up for it, for the rest of the run.
    pub steps: Vec<BudgetStep>,
}

/// See [`Budget::steps`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct BudgetStep {
    /// From the start of the run.
    pub at_s: f64,
    /// What is seen less.
    pub what: String,
    /// What it cost before.
    pub cost_before: f64,
}

/// See [`Health::gpu`].
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuLooks {
    /// How long one look at one GPU took; the target does not wait for it.
    pub look_s: Distribution,
    /// CPU time of the thread that looks as a share of one core, a part of `agent_cpu_ratio`; null for a run
    /// without an end.
    pub cpu_ratio: Option<f64>,
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// From the start of the run.
    pub start_s: f64,
    /// From the start of the run.
    pub end_s: f64,
    /// Objectives bind to it.
    pub judged: bool,
    /// The network condition that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    /// How its load command ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<PhaseLoad>,
}

/// See [`Phase::load`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct PhaseLoad {
    /// How it ended.
    pub outcome: LoadOutcome,
    /// The most that one of its threads used of a core over a second.
    pub busiest_thread: Option<f64>,
}
