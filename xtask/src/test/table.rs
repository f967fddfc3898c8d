//! What a run on every kernel is shown as: the table of the README, and the measurements beside the programs' bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::ladder::{Column, Ending};
use crate::between::replaced;
use crate::paths;
use crate::say::say;

const README: &str = "README.md";
const BUDGETS: &str = "tests/budgets.json";
/// The generated part of the README lies between these.
const BEGIN: &str = "<!-- kernels: written by `cargo xtask test --kernels` -->\n";
const END: &str = "<!-- end of kernels -->\n";

/// Shows the table; it may also replace the one of the README and the measurements.
pub(super) fn show(columns: &[Column], writes: bool) -> Result<()> {
    let table = table(columns);
    say!("\n{table}");
    if !writes {
        return Ok(());
    }
    edit(README, |text| replaced(text, BEGIN, END, &format!("\n{table}\n")))?;
    edit(BUDGETS, |text| measured(text, columns))?;
    say!("test: wrote the table of {README} and the measurements of {BUDGETS}");
    Ok(())
}

/// One row for each room, one for each file of tests, one for the programs, one for the largest of them.
fn table(columns: &[Column]) -> String {
    let heads = columns.iter().map(|column| {
        let version = column.release.split(['-', '+']).next().unwrap_or_default();
        if column.is_host { format!("{version} (host)") } else { version.to_owned() }
    });
    let mut text = row("tests", heads);
    text += &row("---", columns.iter().map(|_| "---".to_owned()));
    let rooms: BTreeSet<&String> = columns.iter().flat_map(|column| column.hooks.keys()).collect();
    for room in rooms {
        text += &row(&format!("room `{room}`"), columns.iter().map(|column| hooks(column, room)));
    }
    let files: BTreeSet<&str> =
        columns.iter().flat_map(|column| column.trials.keys()).map(|t| file(t)).collect();
    for file in files {
        text += &row(&format!("`{file}`"), columns.iter().map(|column| cell(column, file)));
    }
    let n_counts = columns.iter().map(|column| column.counts.len().to_string());
    text += &row("exact counts, the same on all", n_counts);
    text += &row("programs accepted", columns.iter().map(|column| column.verified.len().to_string()));
    let largest = columns.iter().map(|column| {
        let largest = column.verified.iter().filter_map(|(name, n)| n.map(|n| (n, name))).max();
        largest.map_or("not told".to_owned(), |(n, name)| format!("`{name}` {n}"))
    });
    text += &row("most instructions to verify", largest);
    text
}

fn row(head: &str, cells: impl Iterator<Item = String>) -> String {
    cells.fold(format!("| {head} |"), |row, cell| row + " " + &cell + " |") + "\n"
}

/// Whether a room has all of its hooks on one kernel; else it is on the rung below those that are named.
fn hooks(column: &Column, room: &str) -> String {
    let Some(hooks) = column.hooks.get(room) else { return "–".to_owned() };
    let named = |ending: &str| -> Vec<String> {
        hooks.iter().filter(|(_, how)| *how == ending).map(|(hook, _)| format!("`{hook}`")).collect()
    };
    match (named("missing"), named("perf")) {
        (missing, _) if !missing.is_empty() => format!("without {}", missing.join(", ")),
        (_, perf) if !perf.is_empty() => format!("whole, perf's {}", perf.join(", ")),
        _ => "whole".to_owned(),
    }
}

/// The file of a trial: its path without the function.
fn file(trial: &str) -> &str {
    trial.rsplit_once("::").map_or(trial, |(file, _)| file)
}

/// How a file's trials ended on one kernel; those that did not pass by name.
fn cell(column: &Column, wanted: &str) -> String {
    let of_file = || column.trials.iter().filter(|(trial, _)| file(trial) == wanted);
    let all = of_file().count();
    let passed = of_file().filter(|(_, ending)| **ending == Ending::Passed).count();
    if all == 0 {
        return "–".to_owned();
    }
    let mut cell = passed.to_string();
    for (word, kind) in [("failed", Ending::Failed), ("missing", Ending::Skipped)] {
        let names: Vec<&str> = of_file()
            .filter(|(_, ending)| **ending == kind)
            .map(|(trial, _)| trial.rsplit("::").next().unwrap_or_default())
            .collect();
        if !names.is_empty() {
            let _ = write!(cell, ", {word}: {}", names.join(" "));
        }
    }
    cell
}

fn edit(file: &str, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let path = paths::root().join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{file}`"))?;
    fs::write(&path, change(&text)?).with_context(|| format!("failed to write `{file}`"))
}

/// The programs' file with what was measured now.
fn measured(text: &str, columns: &[Column]) -> Result<String> {
    let mut budgets: serde_json::Value = serde_json::from_str(text).context("failed to parse it")?;
    let measured: BTreeMap<&str, &BTreeMap<String, Option<u64>>> =
        columns.iter().map(|column| (column.release.as_str(), &column.verified)).collect();
    budgets["measured"] = serde_json::json!(measured);
    let text = serde_json::to_string_pretty(&budgets).context("failed to write it")?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_is_missing() {
        let mut column = Column { release: "6.1.0-50-amd64".to_owned(), ..Column::default() };
        for (trial, ending) in
            [("net::a", Ending::Passed), ("net::b", Ending::Skipped), ("http::x::c", Ending::Failed)]
        {
            column.trials.insert(trial.to_owned(), ending);
        }
        column.verified.insert("p".to_owned(), Some(7));
        let hooks = |how: [(&str, &str); 2]| how.map(|(hook, how)| (hook.to_owned(), how.to_owned())).into();
        column.hooks.insert("socket".to_owned(), hooks([("a", "works"), ("b", "missing")]));
        column.hooks.insert("fdio".to_owned(), hooks([("a", "works"), ("c", "perf")]));
        let table = table(&[column]);
        for line in [
            "| tests | 6.1.0 |",
            "| room `socket` | without `b` |",
            "| room `fdio` | whole, perf's `c` |",
            "| `net` | 1, missing: b |",
            "| `http::x` | 0, failed: c |",
            "| `p` 7 |",
        ] {
            assert!(table.contains(line), "{line} in\n{table}");
        }
    }
}
