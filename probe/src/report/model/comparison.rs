//! What a run was compared with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`super::Report::comparison`].
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Comparison {
    /// The runs before it, by their names.
    pub baselines: Vec<String>,
    /// Runs that were named and are not like it.
    pub left_out: Vec<LeftOut>,
}

/// A run that this one could not be compared with.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub run: String,
    /// What is different.
    pub why: String,
}
