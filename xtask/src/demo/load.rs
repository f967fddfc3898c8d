//! The load: Locust without its web page, once in each phase of a run that `probe run` plays.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Options;
use super::scratch::Scratch;
use crate::paths;
use crate::setup::Ready;

/// What is judged, and by which routes and stages.
const OBJECTIVES: &str = "profiles/docpipeline.toml";
/// Users that are in the middle of a request when the time is over may finish it.
const STOP_SECONDS: u32 = 20;
/// What Locust may need beside the load itself: imports, start, end.
pub(super) const SPARE_SECONDS: u32 = 60;

/// The line of the degraded phase. Rates work on every kernel; a delay would need sch_netem.
const NARROW: &str = "name = \"narrow\"\nabout = \"A narrow line: 1 Mbit/s each way.\"\nrate = \"1mbit\"\n";

/// A phase: its name, whether it is judged, its eighths of the time, and whether it is on a narrow line.
pub(super) struct Phase {
    name: &'static str,
    is_judged: bool,
    eighths: u32,
    is_narrow: bool,
}

/// The story: what comes before, what should be, and what the same users get on a narrow line.
pub(super) const PHASES: [Phase; 3] = [
    Phase { name: "warm-up", is_judged: false, eighths: 1, is_narrow: false },
    Phase { name: "steady", is_judged: true, eighths: 4, is_narrow: false },
    Phase { name: "degraded", is_judged: true, eighths: 3, is_narrow: true },
];

/// How long all phases may take at most, seconds.
pub(super) fn longest_s(options: &Options) -> u32 {
    PHASES.iter().map(|phase| phase.seconds(options) + STOP_SECONDS + SPARE_SECONDS).sum()
}

impl Phase {
    fn seconds(&self, options: &Options) -> u32 {
        (options.seconds * self.eighths / 8).max(2)
    }

    /// Where its load writes what it counted.
    pub(super) fn counts(&self, scratch: &Scratch) -> PathBuf {
        scratch.file(&format!("locust-counts-{}.json", self.name))
    }
}

/// The profile of the run: the pipeline's own, with the phases and their load.
pub(super) fn profile(ready: &Ready, scratch: &Scratch, options: &Options) -> Result<PathBuf> {
    let objectives = paths::root().join(OBJECTIVES);
    let objectives = fs::read_to_string(&objectives)
        .with_context(|| format!("failed to read `{}`", objectives.display()))?;
    let path = scratch.file("demo.toml");
    let plan = format!("{objectives}\n{}", plan(ready, scratch, options));
    for (path, text) in [(&path, plan.as_str()), (&narrow(scratch), NARROW)] {
        fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(path)
}

fn narrow(scratch: &Scratch) -> PathBuf {
    scratch.file("narrow.toml")
}

fn plan(ready: &Ready, scratch: &Scratch, options: &Options) -> String {
    let set = |name: &str, value: &std::path::Path| format!("{name}={}", value.display());
    let stop = STOP_SECONDS.to_string();
    let script = paths::root().join("tests/load/locustfile.py");
    let words = [
        "env".to_owned(),
        // Brisker than people are, so that the few seconds hold enough requests to judge percentiles by.
        "LOAD_THINK_MIN=0.1".to_owned(),
        "LOAD_THINK_MAX=0.8".to_owned(),
        "LOAD_UPLOAD_MIN=0.5".to_owned(),
        "LOAD_UPLOAD_MAX=1.5".to_owned(),
        set("DOC_CORPUS", &ready.corpus),
        set("LOCUST_COUNTS", &scratch.file("locust-counts-{phase}.json")),
        set("TMPDIR", scratch.path()),
        ready.python.display().to_string(),
    ];
    let (users, spawn_rate) = (options.users.to_string(), options.spawn_rate.to_string());
    let locust = ["-m", "locust", "-f"].map(str::to_owned).into_iter().chain([script.display().to_string()]);
    let more = ["--headless", "--only-summary", "--host", "{host}", "--users", &users, "--spawn-rate"];
    let more = more.into_iter().chain([&spawn_rate, "--run-time", "{duration}", "--stop-timeout", &stop]);
    // A JSON list of strings is a TOML one as well.
    let command: Value = words.into_iter().chain(locust).chain(more.map(str::to_owned)).collect();
    let mut plan = format!(
        "[load]\ncommand = {command}\n# Locust's 1: some responses failed the load's own checks.\n\
         ok_exit_codes = [0, 1]\ngrace = \"{}s\"\n",
        STOP_SECONDS + SPARE_SECONDS
    );
    for phase in &PHASES {
        // Writing into a string does not fail.
        let _ = write!(
            plan,
            "\n[[phase]]\nname = \"{}\"\nduration = \"{}s\"\njudged = {}\n",
            phase.name,
            phase.seconds(options),
            phase.is_judged,
        );
        if phase.is_narrow {
            let _ = writeln!(plan, "net = {}", Value::from(narrow(scratch).display().to_string()));
        }
    }
    plan
}
