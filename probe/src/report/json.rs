//! The report for machines.

use super::Renderer;
use super::model::Report;

/// `report.json`: indented, with a final line break.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Renderer for Json {
    fn render(&self, report: &Report) -> String {
        // Serialising into memory fails for maps without string keys only, and the model has none.
        let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The JSON Schema of `report.json`, made from the types: what they say of themselves is its documentation.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap_or_default();
    text.push('\n');
    text
}
