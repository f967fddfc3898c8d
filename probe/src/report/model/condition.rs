//! The network conditions of phases: what was asked beside what was measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`super::Report::conditions`]. Round trips and losses are those of probe's own echoes, there and back.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Condition {
    /// Its phase.
    pub phase: String,
    /// Its name.
    pub condition: String,
    /// It was in force as it was asked for; else its phase is inconclusive.
    pub is_proved: bool,
    /// Why it is not proved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What one should know of how it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Network device; empty where nothing was injected.
    pub device: String,
    /// Which packets.
    pub scope: String,
    /// Of all random draws; null where there were none.
    pub seed: Option<u64>,
    /// Asked for on top of the round trip without it.
    pub rtt_asked_s: f64,
    /// The lower tenth of echoes (under jitter the median), before the condition was put up.
    pub rtt_before_s: Option<f64>,
    /// While it was in force.
    pub rtt_during_s: Option<f64>,
    /// When it was gone.
    pub rtt_after_s: Option<f64>,
    /// Asked for, there and back.
    pub loss_asked_ratio: f64,
    /// Before it was put up.
    pub loss_before_ratio: Option<f64>,
    /// While it was in force.
    pub loss_during_ratio: Option<f64>,
    /// When it was gone.
    pub loss_after_ratio: Option<f64>,
    /// Echoes behind the loss while it was in force.
    pub echoes: u64,
    /// One per direction with a rate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<ConditionRate>,
    /// Packets of the traffic that it was applied to.
    pub packets: u64,
    /// Their size.
    pub bytes: u64,
    /// Packets lost on purpose, echoes included.
    pub lost: u64,
    /// Packets lost because a queue was full, echoes included.
    pub overflowed: u64,
}

/// See [`Condition::rates`]; bytes per second on the wire.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ConditionRate {
    /// `up`, `down` or `each way`.
    pub direction: String,
    /// Asked for.
    pub asked_per_s: f64,
    /// Of echoes at twice the rate, before it was put up.
    pub before_per_s: Option<f64>,
    /// While it was in force; null where echoes cannot fill it.
    pub during_per_s: Option<f64>,
    /// As before, when it was gone.
    pub after_per_s: Option<f64>,
}
