//! All that a run counted, with its histograms: `numbers.json` of a run directory. Runs and hosts are compared and put
//! together by it without losing a percentile. Pure.

pub mod compare;
mod merge;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use merge::merge;

use crate::aggregate::{Phases, SavedPhases};
use crate::event::{Course, Summary};
use crate::profile::Profile;
use crate::report::{self, Report};

/// Version of the format.
const SCHEMA: &str = "probe.numbers/1";

/// See the head of this file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Numbers {
    schema: String,
    /// SHA-256 of the profile, whose routes have named the endpoints.
    pub profile_sha256: String,
    /// What is known beside the events.
    pub summary: Summary,
    #[serde(flatten)]
    course: Course,
    phases: SavedPhases,
}

impl Numbers {
    /// The numbers of a run that is over.
    pub fn of(summary: &Summary, profile: &Profile, phases: &Phases, course: &Course) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            profile_sha256: profile.sha256.clone(),
            summary: summary.clone(),
            course: course.clone(),
            phases: phases.save(),
        }
    }

    /// As it is kept.
    pub fn to_text(&self) -> String {
        // Serialising into memory fails for maps without string keys only, and there are none.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads what was kept.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let numbers: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if numbers.schema == SCHEMA {
            Ok(numbers)
        } else {
            Err(format!("unknown format `{}`, this probe reads `{SCHEMA}`", numbers.schema.escape_default()))
        }
    }

    /// The numbers by phase.
    pub fn phases(&self, profile: &Arc<Profile>) -> Phases {
        let mut phases = Phases::new(Arc::clone(profile));
        phases.add_saved(&self.phases, 0);
        phases
    }

    /// The report that they make.
    pub fn report(&self, profile: &Arc<Profile>) -> Report {
        report::build(&self.summary, profile, &self.phases(profile), &self.course)
    }
}

#[cfg(test)]
mod tests;
