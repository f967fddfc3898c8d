//! How the run itself went on: its phases and what made the load.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
