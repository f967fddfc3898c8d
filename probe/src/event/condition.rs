//! What is known of a network condition that was in force: asked, measured, counted, and what speaks against it.

use serde::{Deserialize, Serialize};

/// The network conditions of a phase are gone, or never were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// When.
    pub ts_ns: u64,
    /// The phase that they belonged to.
    pub phase: String,
    /// What is known of them.
    pub proof: Proof,
}

/// All that is known about what is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The device.
    pub device: String,
    /// What ends it when the injector dies: `link` or `deadline`.
    pub dead_man: String,
    /// One per condition.
    pub conditions: Vec<ConditionProof>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Why it is not proved; empty when it is.
    pub problems: Vec<String>,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConditionProof {
    /// Its name.
    pub condition: String,
    /// Which packets.
    pub scope: String,
    /// Of netem's draws.
    pub seed: Option<u64>,
    /// There and back.
    pub rtt: RttProof,
    /// Share of echoes lost there and back.
    pub loss: LossProof,
    /// One per direction with a rate.
    pub rates: Vec<RateProof>,
    /// Packets of the traffic that it was applied to.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets lost by intent, ours included.
    pub lost: u64,
    /// Packets lost because a queue was full, ours included.
    pub overflowed: u64,
}

/// See [`ConditionProof::rtt`]; seconds: the lower tenth, under jitter the median.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RttProof {
    /// On top of what it is without.
    pub asked_s: f64,
    /// May be spread by this much.
    pub jitter_s: f64,
    /// Without the condition.
    pub before_s: Option<f64>,
    /// Under it.
    pub during_s: Option<f64>,
    /// When it was gone.
    pub after_s: Option<f64>,
}

/// See [`ConditionProof::loss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossProof {
    /// Share.
    pub asked: f64,
    /// Echo requests.
    pub sent: u64,
    /// Of these, without an answer.
    pub lost: u64,
    /// Losses depend on each other: fewer independent draws than packets.
    pub is_bursty: bool,
    /// Share lost without the condition.
    #[serde(default)]
    pub before: Option<f64>,
    /// Share lost when it was gone.
    #[serde(default)]
    pub after: Option<f64>,
}

/// See [`ConditionProof::rates`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateProof {
    /// `up`, `down` or `each way`.
    pub direction: String,
    /// Bytes per second.
    pub asked: f64,
    /// Bytes per second; none where our own packets cannot fill it.
    pub measured: Option<f64>,
    /// Bytes per second without the condition, of twice as much as it lets through.
    #[serde(default)]
    pub before: Option<f64>,
    /// The same when it was gone.
    #[serde(default)]
    pub after: Option<f64>,
}

impl Proof {
    /// Nothing was in force, for this reason.
    #[must_use]
    pub fn refused(why: String) -> Self {
        Self { problems: vec![why], ..Self::default() }
    }

    /// Nothing speaks against it.
    #[must_use]
    pub const fn is_proved(&self) -> bool {
        self.problems.is_empty()
    }
}
