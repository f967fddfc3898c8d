//! The plan of a run: its phases, and what makes the load in each.

use std::collections::BTreeMap;
use std::time::Duration;

/// One phase of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhasePlan {
    /// Unique within the profile.
    pub name: String,
    /// It ends when its load ends, and after this time at the latest.
    pub duration: Duration,
    /// Objectives bind to it; a warm-up is recorded and not judged.
    pub judged: bool,
    /// The network conditions that it runs under, each with its scope as in `3g port=8000 peer=10.0.0.0/24`; none for a
    /// clean network.
    pub net: Vec<String>,
    /// Its own load command; else that of the command line or of the profile.
    pub load: Option<Vec<String>>,
    /// What `{users}` and the like in the load command stand for.
    pub vars: BTreeMap<String, String>,
}

impl PhasePlan {
    /// Its network conditions in words; none for a clean network.
    #[must_use]
    pub fn condition(&self) -> Option<String> {
        (!self.net.is_empty()).then(|| self.net.join(", "))
    }
}

/// What makes the load.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPlan {
    /// The command of every phase that has none of its own, where the command line names none.
    pub command: Option<Vec<String>>,
    /// Exit codes that are no failure.
    pub ok_exit_codes: Vec<i32>,
    /// Past the phase's duration it may take this long to end.
    pub grace: Duration,
    /// A thread of it that uses more of a core than this, 0 to 1, limits the load instead of the server.
    pub saturation: f64,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self { command: None, ok_exit_codes: vec![0], grace: Duration::from_secs(30), saturation: 0.9 }
    }
}
