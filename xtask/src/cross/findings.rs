//! What the guest's client saw beside what probe's report says of the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// Rounds of the client, as in the guest's script.
const N_ROUNDS: u64 = 20;
/// What a checkpoint has, as the server's script writes it.
const CHECKPOINT_BYTES: u64 = 1000;

/// Both sides.
pub(super) struct Findings {
    machine: String,
    /// Exit codes by what ended with them.
    exits: BTreeMap<String, String>,
    /// Bytes of each file, and of a whole answer with it.
    files: BTreeMap<String, (u64, u64)>,
    /// How often the client got each file whole.
    gets: BTreeMap<String, u64>,
    /// Whole answers to raw requests: their bytes.
    raws: Vec<u64>,
    n_saves: u64,
    report: Value,
}

/// Reads the guest's words.
pub(super) fn read(said: &str) -> Result<Findings> {
    let (lines, report) = said.split_once("\nreport\n").context("failed to find the report")?;
    let report = serde_json::from_str(report.trim()).context("failed to read the report")?;
    let mut findings = Findings {
        machine: String::new(),
        exits: BTreeMap::new(),
        files: BTreeMap::new(),
        gets: BTreeMap::new(),
        raws: Vec::new(),
        n_saves: 0,
        report,
    };
    for line in lines.lines().filter_map(|line| line.strip_prefix("seen ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bytes = |word: &str| -> Result<u64> {
            word.parse().with_context(|| format!("failed to read a number in `{line}`"))
        };
        match *words.as_slice() {
            ["machine", release, name] => findings.machine = format!("{release} {name}"),
            ["file", name, size, whole] => {
                findings.files.insert(name.to_owned(), (bytes(size)?, bytes(whole)?));
            }
            ["get", name, size] if findings.files.get(name).map(|file| file.0) == size.parse().ok() => {
                *findings.gets.entry(name.to_owned()).or_default() += 1;
            }
            ["raw", whole] => findings.raws.push(bytes(whole)?),
            ["save", size] if bytes(size)? == CHECKPOINT_BYTES => findings.n_saves += 1,
            [what, code] if what.ends_with("_exit") => {
                findings.exits.insert(what.to_owned(), code.to_owned());
            }
            _ => {}
        }
    }
    Ok(findings)
}

impl Findings {
    /// What is not as it must be.
    pub(super) fn differences(&self) -> Vec<String> {
        self.checks().into_iter().filter(|check| !check.holds()).map(|check| check.to_string()).collect()
    }

    /// For people, also where all is well.
    pub(super) fn shown(&self) -> Vec<String> {
        let machine = format!("machine: {}", self.machine);
        std::iter::once(machine).chain(self.checks().iter().map(ToString::to_string)).collect()
    }

    fn checks(&self) -> Vec<Check> {
        let exit = |what: &str| self.exits.get(what).map_or("none", String::as_str).to_owned();
        let exits = [("doctor_exit", "0"), ("attach_exit", "0"), ("report_exit", "3")];
        let mut checks: Vec<Check> =
            exits.iter().map(|(what, code)| Check::new(what, *code, exit(what))).collect();
        checks.push(Check::new("on arm64", true, self.machine.ends_with(" aarch64")));
        checks.push(Check::new("files got whole", 2 * N_ROUNDS, self.gets.values().sum::<u64>()));
        checks.push(Check::new("raw answers", N_ROUNDS, self.raws.len()));
        checks.push(Check::new("checkpoints on disk", N_ROUNDS, self.n_saves));

        let whole = |name: &str| self.files.get(name).map_or(0, |file| file.1);
        let endpoint = |path: &str, field: &str| self.sum("endpoints", &[("endpoint", path)], field);
        let raw_out: u64 = self.raws.iter().sum();
        checks.extend([
            Check::new("requests of big.bin", N_ROUNDS, endpoint("GET /big.bin", "requests")),
            Check::new(
                "bytes of big.bin",
                N_ROUNDS * whole("big.bin"),
                endpoint("GET /big.bin", "bytes_out"),
            ),
            Check::new("requests of small.txt", 2 * N_ROUNDS, endpoint("GET /small.txt", "requests")),
            Check::new(
                "bytes of small.txt",
                N_ROUNDS * whole("small.txt") + raw_out,
                endpoint("GET /small.txt", "bytes_out"),
            ),
            Check::new("requests of save", N_ROUNDS, endpoint("GET /cgi-bin/save", "requests")),
            Check::new("opened to be written", N_ROUNDS, self.calls("open", "calls")),
            Check::new("writes of checkpoints", N_ROUNDS, self.calls("write", "calls")),
            Check::new("their bytes", N_ROUNDS * CHECKPOINT_BYTES, self.calls("write", "bytes")),
            Check::new("their fsyncs", N_ROUNDS, self.calls("fsync", "calls")),
            Check::new("their renames", N_ROUNDS, self.calls("rename", "calls")),
            Check::new(
                "events lost",
                0,
                self.report.pointer("/health/lost").and_then(Value::as_u64).unwrap_or(u64::MAX),
            ),
        ]);
        checks
    }

    /// A field of an operation on checkpoints.
    fn calls(&self, op: &str, field: &str) -> u64 {
        self.sum("files", &[("class", "checkpoint"), ("op", op)], field)
    }

    /// The sum of a field over those entries of a table that have all these values.
    fn sum(&self, table: &str, values: &[(&str, &str)], field: &str) -> u64 {
        let entries = self.report.get(table).and_then(Value::as_array).into_iter().flatten();
        let is_meant = |entry: &&Value| values.iter().all(|(name, value)| entry[*name] == **value);
        entries.filter(is_meant).filter_map(|entry| entry[field].as_u64()).sum()
    }
}

/// One thing that both sides say.
struct Check {
    what: &'static str,
    wanted: String,
    found: String,
}

impl Check {
    #[expect(clippy::needless_pass_by_value, reason = "most values are made for it")]
    fn new(what: &'static str, wanted: impl ToString, found: impl ToString) -> Self {
        Self { what, wanted: wanted.to_string(), found: found.to_string() }
    }

    fn holds(&self) -> bool {
        self.wanted == self.found
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, wanted, found } = self;
        if self.holds() {
            write!(f, "{what}: {found}")
        } else {
            write!(f, "{what}: {found}, but {wanted} there")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told() {
        let report =
            r#"{"endpoints": [{"endpoint": "GET /big.bin", "requests": 19}], "health": {"lost": 0}}"#;
        let said = format!("seen machine 6.12 aarch64\nseen attach_exit 4\nseen raw 529\nreport\n{report}\n");
        let differences = read(&said).unwrap().differences();
        let tells = |text: &str| differences.iter().any(|line| line == text);
        assert!(tells("requests of big.bin: 19, but 20 there"), "{differences:?}");
        assert!(tells("attach_exit: 4, but 0 there"), "{differences:?}");
        assert!(
            !differences.iter().any(|line| line.starts_with("events lost") || line.starts_with("on arm64"))
        );
        assert!(read("seen machine 6.12 aarch64\n").is_err());
    }
}
