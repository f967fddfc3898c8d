//! The four verdicts and how they combine.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of an objective, or of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As good as the target.
    Pass,
    /// Between target and limit.
    Warn,
    /// Worse than the limit.
    Fail,
    /// It cannot be said. Never the same as a pass.
    Inconclusive,
}

impl Verdict {
    /// The verdict of a run: a fail stands whatever else could not be said, and a doubt outweighs a pass.
    /// Of nothing it is inconclusive: nothing was judged.
    pub fn overall(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().max_by_key(|verdict| verdict.weight()).unwrap_or(Self::Inconclusive)
    }

    const fn weight(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Warn => 1,
            Self::Inconclusive => 2,
            Self::Fail => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, Fail, Inconclusive, Pass, Warn};

    #[test]
    fn fail_outweighs_doubt_outweighs_warn_outweighs_pass() {
        for (verdicts, expected) in [
            (&[][..], Inconclusive),
            (&[Pass, Pass], Pass),
            (&[Pass, Warn, Pass], Warn),
            (&[Warn, Inconclusive, Pass], Inconclusive),
            (&[Inconclusive, Fail, Warn], Fail),
        ] {
            assert_eq!(Verdict::overall(verdicts.iter().copied()), expected, "{verdicts:?}");
        }
    }
}
