//! Runs beside runs: run directories that are made of a recording, changed by so much.

mod compare;
mod merge;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use probe::{analysis::Analysis, engine::record, profile::Profile};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Suite,
    bench::{Answer, end_of, probe},
};

pub(crate) fn add_to(suite: &mut Suite) {
    compare::add_to(suite);
    merge::add_to(suite);
}

/// The audit's rules.
const RULES: &str = "name = 'history'\nroutes = ['GET /documents/{id}', 'POST /upload']\n\
                     [[regression]]\nid = 'p95'\nmetric = 'latency.p95'\nworse_by = '20%'\nfloor = '5ms'\n\
                     [[regression]]\nid = 'rate'\nmetric = 'rate'\nworse_by = '15%'\n";

/// What makes a run another one.
#[derive(Clone, Copy)]
struct Change {
    /// Each answer comes so much later.
    slower_ms: u64,
    /// The run has so many percent of its length.
    length: u64,
    kernel: &'static str,
    machine: &'static str,
    net: Option<&'static str>,
    profile: &'static str,
}

const SAME: Change =
    Change { slower_ms: 0, length: 100, kernel: "6.12.0", machine: "2 cpus", net: None, profile: RULES };

/// A folder of runs.
struct Runs(TempDir);

impl Runs {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Keeps a run that was changed so.
    fn add(&self, name: &str, change: Change) -> Result<()> {
        let mut lines = lines()?;
        lines[0]["run_id"] = name.into();
        for line in &mut lines {
            if line["event"] == "response" {
                for time in ["first_send_ns", "last_send_ns"] {
                    let later = line[time].as_u64().context("no time")? + change.slower_ms * 1_000_000;
                    line[time] = later.into();
                }
            }
        }
        let start_ns = lines[0]["start_ns"].clone();
        if let Some(net) = change.net {
            let phase = json!({"event": "phase", "ts_ns": start_ns, "name": "load", "judged": true, "condition": net});
            let proof =
                json!({"device": "lo", "dead_man": "link", "conditions": [], "notes": [], "problems": []});
            let proved = json!({"event": "condition", "ts_ns": start_ns, "phase": "load", "proof": proof});
            lines.insert(1, phase);
            lines.insert(lines.len() - 1, proved);
        }
        let summary = &mut lines.last_mut().context("an empty recording")?["summary"];
        let (start_ns, end_ns) = (&summary["start_ns"], &summary["end_ns"]);
        let start_ns = start_ns.as_u64().context("no start")?;
        let length_ns = end_ns.as_u64().context("no end")? - start_ns;
        summary["end_ns"] = (start_ns + length_ns / 100 * change.length).into();
        summary["run_id"] = name.into();
        summary["kernel"] = change.kernel.into();
        summary["machine"] = change.machine.into();
        self.keep(name, &lines, change.profile)
    }

    /// Keeps a run of these lines, as `probe attach --record` does.
    fn keep(&self, name: &str, lines: &[Value], profile: &str) -> Result<()> {
        let folder = self.path(name);
        fs::create_dir(&folder)?;
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{line}")?;
        }
        fs::write(folder.join(record::FILE_NAME), text)?;
        fs::write(folder.join("profile.toml"), profile)?;
        let mut analysis = Analysis::new(Arc::new(Profile::load(&folder.join("profile.toml"))?));
        let summary = record::read(&folder.join(record::FILE_NAME), |event| analysis.event(&event))?;
        let (report, numbers) = analysis.finish_with_numbers(&summary);
        fs::write(folder.join("numbers.json"), numbers.to_text())?;
        fs::write(folder.join("report.json"), serde_json::to_string(&report)?)?;
        Ok(())
    }

    fn compare(&self, run: &str, baselines: &[&str], more: &[&str]) -> Result<Answer> {
        let mut command = probe(&["compare", run, "--format", "json"])?;
        command.args(more).current_dir(&self.0);
        if !baselines.is_empty() {
            command.arg("--baseline").args(baselines);
        }
        end_of(&mut command)
    }

    fn report(&self, name: &str) -> Result<Value> {
        report_in(&self.path(name))
    }
}

fn report_in(folder: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(folder.join("report.json"))?)?)
}

/// The lines of a recording of 480 answers in 20 s.
fn lines() -> Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/healthy").join(record::FILE_NAME);
    let text = fs::read_to_string(path)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
