//! What a run leaves: the forms of its report, as files in the run directory and on stdout.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;

use super::outcome::{is_colour_wanted, print_annotations, print_report};
use crate::numbers::Numbers;
use crate::report::{Html, Json, Junit, Markdown, Renderer, Report, Text, annotations};

/// The report for machines.
pub const REPORT_JSON: &str = "report.json";
/// The report for people.
pub const REPORT_TEXT: &str = "report.txt";
/// The profile's text.
pub const PROFILE: &str = "profile.toml";
/// All numbers with their histograms: for comparing and merging.
pub const NUMBERS: &str = "numbers.json";

/// Forms of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For machines: schema probe.report/1
    Json,
    /// For a browser: one file, with plots
    Html,
    /// For the summary of a CI step
    Markdown,
    /// For what shows test results
    Junit,
}

/// The forms that a run directory holds, by their files' names.
const FILES: [(&str, &dyn Renderer); 5] = [
    (REPORT_JSON, &Json),
    (REPORT_TEXT, &Text { colour: false }),
    ("report.html", &Html),
    ("report.md", &Markdown),
    ("junit.xml", &Junit),
];

/// The report as it goes to stdout.
pub fn render(report: &Report, format: Format) -> String {
    match format {
        Format::Text => Text { colour: is_colour_wanted() }.render(report),
        Format::Json => Json.render(report),
        Format::Html => Html.render(report),
        Format::Markdown => Markdown.render(report),
        Format::Junit => Junit.render(report),
    }
}

/// Shows the report on stdout, and on GitHub's runners what is wrong beside the change that it belongs to.
pub fn show(report: &Report, format: Format) -> anyhow::Result<()> {
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        print_annotations(&annotations(report));
    }
    print_report(&render(report, format)).context("failed to write the report to `stdout`")
}

/// Writes every form of the report, and the numbers behind it. Gives whether all could be written: the report goes to
/// stdout whatever happens here, so a full disk is told and does not change the verdict.
pub fn save_all(directory: &Path, report: &Report, numbers: &Numbers) -> bool {
    let saved = save(directory, NUMBERS, &numbers.to_text());
    FILES.iter().fold(saved, |all, (name, renderer)| save(directory, name, &renderer.render(report)) && all)
}

/// Writes a file, and says whether it could.
pub fn save(directory: &Path, name: &str, contents: &str) -> bool {
    let path = directory.join(name);
    let saved = fs::write(&path, contents);
    if let Err(error) = &saved {
        // Half a file would be read as a damaged run later.
        let _ = fs::remove_file(&path);
        tracing::error!(path = %path.display(), %error, "failed to save a result; the report on stdout is complete");
    }
    saved.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_gone_is_told() {
        assert!(!save(Path::new("/nonexistent/run"), REPORT_JSON, ""));
    }
}
