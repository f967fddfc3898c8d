//! All that a run measured: as a file, which also is the baseline in the tree, and as tables for the README.

use std::{fmt::Write as _, fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::figure::Figure;

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// `uname -r`.
    pub(crate) kernel: String,
    /// Processors that client, server and probe shared.
    pub(crate) processors: usize,
    pub(crate) rounds: usize,
    pub(crate) figures: Vec<Figure>,
}

impl Results {
    /// None where there is no such file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("failed to read `{}`", path.display()))?,
        };
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not what `--json` writes", path.display()))
            .map(Some)
    }

    /// Whether two runs are of machines that can be compared.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.kernel, self.processors) == (&other.kernel, other.processors)
    }

    /// JSON with a line for each figure, so that a change of one shows as a change of one line.
    pub(crate) fn json(&self) -> Result<String> {
        let figures = self.figures.iter().map(|figure| serde_json::to_string(&figure.rounded()));
        let figures = figures.collect::<Result<Vec<_>, _>>()?.join(",\n");
        let (kernel, processors, rounds) =
            (serde_json::to_string(&self.kernel)?, self.processors, self.rounds);
        Ok(format!(
            "{{\"kernel\":{kernel},\"processors\":{processors},\"rounds\":{rounds},\"figures\":[\n{figures}\n]}}\n"
        ))
    }

    /// A table for each part, and one of the budgets.
    pub(crate) fn markdown(&self) -> String {
        let release = self.kernel.split(['-', '+']).next().unwrap_or_default();
        let mut text = format!("Linux {release}, {} processors, {} rounds.\n", self.processors, self.rounds);
        let mut part = "";
        for figure in self.figures.iter().filter(|figure| !figure.is_detail) {
            if figure.part != part {
                part = &figure.part;
                let _ = write!(text, "\n| {part} | off | on | change, or interval |\n|---|--:|--:|--:|\n");
            }
            let [off, on, change] = figure.cells();
            let _ = writeln!(text, "| {}, {} | {off} | {on} | {change} |", figure.name, figure.unit);
        }
        text += "\n| budget | at most | measured | |\n|---|--:|--:|---|\n";
        for figure in &self.figures {
            let Some([budget, measured, verdict]) = figure.verdict() else { continue };
            let name = format!("{}: {}, {}", figure.part, figure.name, figure.unit);
            let _ = writeln!(text, "| {name} | {budget} | {measured} | {verdict} |");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let part = |part: &str, figure: Figure| Figure { part: part.to_owned(), ..figure };
        let ran = Figure::of("a program: a run", "ns", &[70.0, 80.0]);
        Results {
            kernel: "6.1.0-50-amd64".to_owned(),
            processors: 4,
            rounds: 2,
            figures: vec![
                part(
                    "calls",
                    Figure::pairs("read", "ns", &[100.0, 200.0], &[123.456_789, 210.0]).within(0.1),
                ),
                part("calls", Figure::of("attach", "ms", &[150.0, 160.0]).within(500.0)),
                part("programs", Figure { is_detail: true, ..ran }),
            ],
        }
    }

    #[test]
    fn a_file_has_a_line_per_figure_and_is_read_as_written() {
        let (results, folder) = (results(), tempfile::tempdir().unwrap());
        let path = folder.path().join("baseline.json");
        assert_eq!(Results::read(&path).unwrap(), None);
        let text = results.json().unwrap();
        assert_eq!(text.lines().count(), 2 + results.figures.len(), "{text}");
        fs::write(&path, &text).unwrap();
        let read = Results::read(&path).unwrap().unwrap();
        let rounded = Figure { on: vec![123.46, 210.0], ..results.figures[0].clone() };
        assert_eq!(read.figures[0], rounded);
        assert_eq!(read.figures[1..], results.figures[1..]);
        assert!(read.is_like(&results) && !read.is_like(&Results { processors: 2, ..results }));
        fs::write(&path, "{}").unwrap();
        assert!(Results::read(&path).is_err());
    }

    #[test]
    fn a_table_for_each_part_and_one_of_the_budgets() {
        let text = results().markdown();
        for line in [
            "Linux 6.1.0, 4 processors, 2 rounds.",
            "| calls | off | on | change, or interval |",
            "| read, ns | 150 | 167 | +14% (+5.0%…+23%) |",
            "| attach, ms |  | 155 | 150…160 |",
            "| calls: read, ns | +10% | +14% | open |",
            "| calls: attach, ms | 500 | 155 | kept |",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
        }
        assert!(!text.contains("a program"), "details are in the file alone:\n{text}");
    }
}
