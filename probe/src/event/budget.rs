//! What a run gave up of its view to stay within its budget.

use std::fmt;

use probe_common::socket::is_in_sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConnId;

/// The run gave up a part of its view, for good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDown {
    /// When.
    pub ts_ns: u64,
    /// Which part.
    pub what: GivenUp,
    /// What the run cost before, as a share of one core.
    pub cost_before: f64,
}

impl StepDown {
    /// The connections that are left by it.
    pub const fn sample(&self) -> Sample {
        match self.what {
            GivenUp::Statements => Sample::ALL,
            GivenUp::Connections(sample) => sample,
        }
    }
}

/// A part of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenUp {
    /// Statements of SQLite: their probes are the dearest hooks of all.
    Statements,
    /// All but a sample of the connections.
    Connections(Sample),
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statements => f.write_str("SQLite statements off"),
            Self::Connections(Sample { one_in }) => write!(f, "1 in {one_in} connections followed"),
        }
    }
}

/// A sample of the connections: whatever happens on the others is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// A power of two, so that a smaller sample is a part of a larger one.
    pub one_in: u32,
}

impl Sample {
    /// Every connection.
    pub const ALL: Self = Self { one_in: 1 };

    /// As the kernel side takes it.
    pub const fn mask(self) -> u32 {
        self.one_in.saturating_sub(1)
    }

    /// The connection is in the sample.
    pub const fn has(self, conn: ConnId) -> bool {
        is_in_sample(conn, self.mask())
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::ALL
    }
}

/// How the budget of a run was kept: see [`super::Summary::budget`].
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Budget {
    /// What kernel programs and agent may cost together, as a share of one core.
    pub limit: f64,
    /// After the last step the run cost no more than that; null where that was not measured.
    pub kept: Option<bool>,
    /// What it cost since the last step, kernel programs and agent together; null where the run ended before a look.
    pub cost: Option<f64>,
}

impl Budget {
    /// As one run with another: each has its own, and the worse one counts.
    pub fn join(&mut self, other: &Self) {
        self.limit = self.limit.min(other.limit);
        self.cost = self.cost.into_iter().chain(other.cost).reduce(f64::max);
        self.kept = match (self.kept, other.kept) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the rhythm in which connections come, each sample has its share of them: ids are nanoseconds and a
        /// processor. (Six standard deviations: about one case in a billion is beyond.)
        #[test]
        fn samples_are_even(first in 0u64..1 << 50, step in 1u64..1 << 34, cpu in 0u64..256) {
            const N: u64 = 4096;
            for one_in in [2, 4, 8, 16] {
                let sample = Sample { one_in };
                let n = (0..N).filter(|i| sample.has((first + i * step) << 8 | cpu)).count() as f64;
                let share = 1.0 / f64::from(one_in);
                let deviation = (N as f64 * share * (1.0 - share)).sqrt();
                prop_assert!((n - N as f64 * share).abs() < 6.0 * deviation, "{n} of {N}, 1 in {one_in}");
            }
        }

        /// A smaller sample is a part of each larger one.
        #[test]
        fn samples_nest(conn: u64) {
            for one_in in [1, 2, 4, 8] {
                let (large, small) = (Sample { one_in }, Sample { one_in: one_in * 2 });
                prop_assert!(!small.has(conn) || large.has(conn));
            }
            prop_assert!(Sample::ALL.has(conn));
        }
    }

    #[test]
    fn the_worse_budget_counts() {
        let kept = Budget { limit: 0.02, kept: Some(true), cost: Some(0.01) };
        for (other, expected) in [
            (Budget { limit: 0.01, kept: Some(false), cost: Some(0.03) }, Some(false)),
            (Budget { limit: 0.01, kept: None, cost: Some(0.03) }, None),
            (Budget { limit: 0.01, kept: Some(true), cost: Some(0.03) }, Some(true)),
        ] {
            let mut joined = kept;
            joined.join(&other);
            assert_eq!(joined, Budget { limit: 0.01, kept: expected, cost: Some(0.03) });
        }
    }
}
