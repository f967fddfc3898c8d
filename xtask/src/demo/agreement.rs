//! The load generator's counts beside the probe's: two programs that know nothing of each other must agree exactly.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Both sides per endpoint, by name.
pub(super) struct Agreement {
    rows: BTreeMap<String, Row>,
}

#[derive(Default)]
struct Row {
    sent: u64,
    /// Requests of which the load generator can't know whether the server answered them in full: the run's end cut
    /// them off, or no response came.
    uncertain: u64,
    seen: u64,
}

impl Row {
    fn is_exact(&self) -> bool {
        (self.sent..=self.sent + self.uncertain).contains(&self.seen)
    }
}

impl Agreement {
    pub(super) fn read(counts: &[PathBuf], report: &Path) -> Result<Self> {
        let counts = counts.iter().map(|path| super::read_json(path)).collect::<Result<Vec<_>>>()?;
        let agreement = Self::new(&counts, &super::read_json(report)?)?;
        if agreement.rows.values().all(|row| row.sent == 0) {
            bail!(
                "failed to load the pipeline: no request was answered\nsee load-*.log in the run directory"
            );
        }
        Ok(agreement)
    }

    fn new(counts: &[Value], report: &Value) -> Result<Self> {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for counts in counts {
            for endpoint in list(counts, "endpoints")? {
                let name = format!("{} {}", text(endpoint, "method")?, text(endpoint, "name")?);
                let row = rows.entry(name).or_default();
                row.sent += number(endpoint, "requests")?;
                row.uncertain += number(endpoint, "no_response")? + number(endpoint, "interrupted")?;
            }
        }
        // The report has one entry per endpoint and phase.
        for endpoint in list(report, "endpoints")? {
            rows.entry(text(endpoint, "endpoint")?.to_owned()).or_default().seen +=
                number(endpoint, "requests")?;
        }
        Ok(Self { rows })
    }

    pub(super) fn is_exact(&self) -> bool {
        self.rows.values().all(Row::is_exact)
    }
}

impl Display for Agreement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = self.rows.keys().map(String::len).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>8}  {:>8}", "requests", "locust", "probe")?;
        for (name, row) in &self.rows {
            write!(f, "{name:width$}  {:>8}  {:>8}", row.sent, row.seen)?;
            if row.uncertain > 0 {
                write!(f, "  ({} more without a full response)", row.uncertain)?;
            }
            writeln!(f, "{}", if row.is_exact() { "" } else { "  DIFFERS" })?;
        }
        let total = |side: fn(&Row) -> u64| self.rows.values().map(side).sum::<u64>();
        write!(f, "{:width$}  {:>8}  {:>8}", "all", total(|row| row.sent), total(|row| row.seen))
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    value[key].as_array().map(Vec::as_slice).with_context(|| missing(key, "list"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| missing(key, "text"))
}

fn number(value: &Value, key: &str) -> Result<u64> {
    value[key].as_u64().with_context(|| missing(key, "number"))
}

fn missing(key: &str, kind: &str) -> String {
    format!("failed to find the {kind} `{key}` in the counts or the report")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agreement(sent: u64, interrupted: u64, seen: &[u64]) -> Agreement {
        let counts = json!({"endpoints": [{"method": "GET", "name": "/a/{id}", "requests": sent, "no_response": 0,
            "interrupted": interrupted}]});
        let seen = seen.iter().map(|n| json!({"endpoint": "GET /a/{id}", "requests": n})).collect::<Vec<_>>();
        Agreement::new(&[counts], &json!({"endpoints": seen})).unwrap()
    }

    #[test]
    fn counts_must_be_equal() {
        assert!(agreement(5, 0, &[5]).is_exact());
        assert!(agreement(5, 0, &[2, 3]).is_exact(), "phases add up");
        assert!(!agreement(5, 0, &[4]).is_exact());
        assert!(!agreement(5, 0, &[6]).is_exact());
        assert!(!agreement(5, 0, &[]).is_exact(), "an endpoint that the probe never saw");
        assert!(agreement(5, 1, &[6]).is_exact(), "cut off, but answered");
        assert!(!agreement(5, 1, &[7]).is_exact());
    }

    #[test]
    fn an_endpoint_that_only_the_probe_names_differs() {
        let report = json!({"endpoints": [{"endpoint": "GET /b", "requests": 1}]});
        let agreement = Agreement::new(&[json!({"endpoints": []})], &report).unwrap();
        assert!(!agreement.is_exact());
        assert!(agreement.to_string().contains("DIFFERS"), "{agreement}");
    }

    #[test]
    fn a_report_without_counts_is_an_error() {
        let error = Agreement::new(&[], &json!({"endpoints": [{"endpoint": "GET /"}]}));
        assert!(error.is_err_and(|error| error.to_string().contains("`requests`")));
    }
}
