//! What a user expects of a run: routes and objectives, read from a TOML file.
//!
//! Reading finds all errors at once, each with its line and column, and never panics, whatever the input.
//! What a metric *is* stands in [`metric`], what is made of it in [`crate::slo`].

mod abort;
mod errors;
mod metric;
mod nearest;
mod pattern;
mod phase;
mod read;
mod regression;
mod route;
mod stage;
mod value;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub use abort::AbortRule;
pub use errors::{ProfileError, ProfileErrors};
pub use metric::{Kind, Metric, Percentile, Quantity, Shape, Stat, Unit};
pub use nearest::nearest;
pub use pattern::Pattern;
use pattern::matches_glob;
pub use phase::{LoadPlan, PhasePlan};
pub use regression::Regression;
pub use route::{Route, Segment, split_path};
pub use stage::{FilePattern, StageBy, StageMatch, StageRule, StageRules};

/// A longer file is no profile, bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The profile that is used when none is named.
const DEFAULT: &str = include_str!("../../../profiles/default.toml");

/// A profile without errors.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Short name for reports.
    pub name: String,
    /// What it is about, in a sentence.
    pub about: Option<String>,
    /// The routes of the application, which name its endpoints.
    pub routes: Vec<Route>,
    /// At most this many endpoints beside those of `routes` are told apart.
    pub max_endpoints: usize,
    /// The phases of `probe run`, in their order.
    pub phases: Vec<PhasePlan>,
    /// What makes the load in `probe run`.
    pub load: LoadPlan,
    /// How stages and documents are told.
    pub stages: StageRules,
    /// When a run is ended early.
    pub aborts: Vec<AbortRule>,
    /// By how much a run may be worse than those before it.
    pub regressions: Vec<Regression>,
    /// What is judged, in the order of the file.
    pub objectives: Vec<Objective>,
    /// The file's text, kept so that a run directory can hold it.
    pub text: String,
    /// SHA-256 of the text, hexadecimal.
    pub sha256: String,
}

/// One thing that is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Unique within the profile.
    pub id: String,
    /// What is judged, each on its own; none for all requests together.
    pub subject: Option<Pattern>,
    /// The phases in which it is judged, `*` for anything; none for every judged one.
    pub phase: Option<String>,
    /// It decides the run.
    pub key: bool,
    /// Which value is judged.
    pub metric: Metric,
    /// As good as this or better is a pass; in the metric's unit.
    pub target: f64,
    /// Worse than this is a fail; in the metric's unit.
    pub limit: f64,
}

impl Objective {
    /// It is judged in the phase of this name, if that is a judged one.
    pub fn binds_to(&self, phase: &str) -> bool {
        self.phase.as_deref().is_none_or(|pattern| matches_glob(pattern, phase))
    }
}

impl Profile {
    /// Reads a profile file.
    pub fn load(path: &Path) -> Result<Self, ProfileErrors> {
        let label = path.display().to_string();
        match read_text(path) {
            Ok(text) => Self::parse(&label, &text),
            Err(problem) => Err(ProfileErrors::of_file(label, problem)),
        }
    }

    /// Reads a profile's text; `label` stands for it in errors.
    pub fn parse(label: &str, text: &str) -> Result<Self, ProfileErrors> {
        read::read(text).map_err(|errors| ProfileErrors::at_offsets(label.to_owned(), text, errors))
    }

    /// The profile for users who have none: what any API should keep.
    pub fn builtin() -> Result<Self, ProfileErrors> {
        Self::parse("built-in profile", DEFAULT)
    }
}

/// SHA-256 of a text, hexadecimal.
fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // The bound also holds for files without a size, such as pipes and devices.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("longer than {} KiB", MAX_FILE_BYTES / 1024));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests;
