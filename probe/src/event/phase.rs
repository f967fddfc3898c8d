//! How the run itself went on: its phases and what made the load.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GivenUp, StepDown};
use crate::profile::Unit;

/// A phase began, and with it the one before ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// When.
    pub ts_ns: u64,
    /// Its name.
    pub name: String,
    /// Objectives bind to it.
    pub judged: bool,
    /// The network condition that it asks for, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// It is none of the plan's: the time in which a condition is put up, measured or taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_between: bool,
}

/// A rule of the profile ended the run early.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Abort {
    /// When, `CLOCK_MONOTONIC` nanoseconds.
    pub ts_ns: u64,
    /// The rule's id.
    pub rule: String,
    /// The endpoint; none for all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Which value was watched.
    pub metric: String,
    /// The phase at hand; none in a run without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The value that was past the limit, in `unit`.
    pub value: f64,
    /// The rule's limit.
    pub limit: f64,
    /// Of value and limit.
    pub unit: Unit,
    /// Requests that the value was made of.
    pub samples: u64,
    /// Length of the window, seconds.
    pub window_s: f64,
}

/// What the run itself did, beside what was seen of the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// How the loads of its phases ended.
    #[serde(default)]
    pub loads: Vec<Load>,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// What it gave up of its view, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDown>,
}

impl Course {
    /// Not all connections are followed any more.
    pub fn is_sampled(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.what, GivenUp::Connections(_)))
    }
}

/// The load command of a phase ended, or was ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// When.
    pub ts_ns: u64,
    /// The phase that it belonged to.
    pub phase: String,
    /// How it ended.
    pub outcome: LoadOutcome,
    /// The most that one of its threads used of a core over a second, 0 to 1; none when it was too short to look.
    pub busiest_thread: Option<f64>,
}

/// How a load command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadOutcome {
    /// With an exit code that the profile accepts.
    Ok {
        /// The code.
        code: i32,
    },
    /// With another one.
    Failed {
        /// The code.
        code: i32,
    },
    /// By a signal that was not ours.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// Still there past the phase's end, and stopped by us.
    Overran,
    /// Stopped by us with the run.
    Stopped,
}
