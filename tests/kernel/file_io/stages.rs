//! Stage times, documents, counts and bytes, in every layout, against the writer's own log and the directory.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    probe::{Outcome, Probe},
    report::Dist,
    say::say,
    stats::{Tolerance, percentile},
};
use serde::Deserialize;

use super::writer::{Line, Writer};
use crate::{Suite, add};

pub(super) const STAGES: [&str; 5] = ["ingest", "ocr", "layout", "tables", "export"];
const DOCUMENTS: u32 = 200;
const THREADS: u32 = 4;
/// 2 % or 5 ms: what a stage's time may be off by.
pub(super) const STAGE_TIME: Tolerance = Tolerance { relative: 0.02, absolute: 0.005 };

/// The rules of a layout, and the folder of its checkpoints.
pub(super) struct Layout {
    pub(super) name: &'static str,
    pub(super) rule: &'static str,
    pub(super) folder: &'static str,
}

pub(super) const BY_DOCUMENT: &str = "checkpoints/{doc}/{index}_{stage}.json";
const LAYOUTS: [Layout; 12] = [
    Layout { name: "plain", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "marked", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "mkstemp", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "elsewhere", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "dirfd", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "unnamed", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "hardlink", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "dup", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "child", rule: BY_DOCUMENT, folder: "checkpoints" },
    Layout { name: "shared", rule: "shared/{doc}_{stage}.json", folder: "shared" },
    Layout { name: "rewritten", rule: "jobs/{doc}.json", folder: "jobs" },
    Layout { name: "nameless", rule: "one/{stage}_checkpoint.json", folder: "one" },
];

#[derive(Debug, Deserialize)]
pub(super) struct Stage {
    #[serde(rename = "stage")]
    pub(super) name: String,
    pub(super) documents: u64,
    pub(super) repeated: u64,
    pub(super) untimed: u64,
    pub(super) time_s: Dist,
    transition_s: Dist,
}

#[derive(Debug, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) never_placed: u64,
    pub(super) errors: BTreeMap<String, u64>,
    total_s: Dist,
    io_s: Dist,
    pub(super) fsync_s: Dist,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pipeline {
    pub(super) documents: u64,
    begun: u64,
    pub(super) completed: u64,
    in_flight: u64,
    repeated_stages: u64,
    time_s: Dist,
}

pub(crate) fn add_to(suite: &mut Suite) {
    for layout in &LAYOUTS {
        suite.add(&format!("file_io::stages::layout_{}", layout.name), move || layout_is_exact(layout));
    }
    add!(suite, old_file_is_counted, failed_files_are_told);
}

/// A profile with the rule of a layout.
pub(super) fn profile(rule: &str) -> String {
    let order: Vec<String> = STAGES.iter().map(|stage| format!("{stage:?}")).collect();
    format!(
        "name = \"test\"\n[stages]\norder = [{}]\nbegins = \"uploads/{{doc}}.pdf\"\n[[stage]]\nfile = {rule:?}\n",
        order.join(", ")
    )
}

/// A whole run of the writer under the probe.
pub(super) fn watched(layout: &Layout, documents: u32) -> Result<(Writer, Outcome, Vec<Line>)> {
    let mut writer = Writer::start(layout.name, documents, THREADS)?;
    let probe = Probe::attach_with(writer.pid(), &profile(layout.rule), &[])?;
    let log = writer.run()?;
    let outcome = probe.finish()?;
    outcome.report.nothing_lost()?;
    Ok((writer, outcome, log))
}

fn layout_is_exact(layout: &Layout) -> Result<()> {
    let (writer, outcome, log) = watched(layout, DOCUMENTS)?;
    let stages: Vec<Stage> = outcome.report.at("/stages")?;
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    ensure!(names == STAGES, "stages in the order {names:?}");
    let is_marked = layout.name == "marked";
    for (at, stage) in stages.iter().enumerate() {
        let expected = times(&log, at, is_marked);
        let untimed = u64::from(DOCUMENTS) - expected.logged.len() as u64;
        ensure!(
            (stage.documents, stage.repeated, stage.untimed) == (u64::from(DOCUMENTS), 0, untimed),
            "{stage:?}, expected {} timed",
            expected.logged.len()
        );
        agrees(&format!("{} {}", layout.name, stage.name), &expected, &stage.time_s)?;
        if is_marked && at > 0 {
            let label = format!("{} transition to {}", layout.name, stage.name);
            agrees(&label, &transitions(&log, at), &stage.transition_s)?;
        }
    }
    let pipeline: Vec<Pipeline> = outcome.report.at("/pipeline")?;
    let [pipeline] = pipeline.as_slice() else { anyhow::bail!("{} pipelines", pipeline.len()) };
    let begun = if layout.name == "nameless" { 0 } else { u64::from(DOCUMENTS) };
    ensure!(
        (pipeline.documents, pipeline.begun, pipeline.completed)
            == (u64::from(DOCUMENTS), begun, u64::from(DOCUMENTS))
            && (pipeline.in_flight, pipeline.repeated_stages, pipeline.time_s.count) == (0, 0, begun),
        "{pipeline:?}"
    );
    files_are_exact(layout, &writer, &outcome, &log)
}

/// Files and bytes as the writer logged them, and as the directory has them where each file is written once.
fn files_are_exact(layout: &Layout, writer: &Writer, outcome: &Outcome, log: &[Line]) -> Result<()> {
    let checkpoints: Vec<Checkpoint> = outcome.report.at("/checkpoints")?;
    let [checkpoint] = checkpoints.as_slice() else { anyhow::bail!("{checkpoints:?}") };
    let written: Vec<&Line> = log.iter().filter(|line| line.stage > 0).collect();
    let bytes: u64 = written.iter().map(|line| line.bytes).sum();
    ensure!(
        (checkpoint.files, checkpoint.bytes) == (written.len() as u64, bytes),
        "{checkpoint:?}, but {} files with {bytes} bytes were written",
        written.len()
    );
    ensure!(checkpoint.never_placed == 0 && checkpoint.errors.is_empty(), "{checkpoint:?}");
    ensure!(checkpoint.io_s.count == checkpoint.files && checkpoint.total_s.count == checkpoint.files);
    ensure!(checkpoint.io_s.total() <= checkpoint.total_s.total() * 1.01, "{checkpoint:?}");
    if matches!(layout.folder, "checkpoints" | "shared") {
        let there = writer.files(layout.folder)?;
        let sum: u64 = there.values().sum();
        ensure!((there.len() as u64, sum) == (checkpoint.files, checkpoint.bytes), "{checkpoint:?}");
    }
    Ok(())
}

/// The writer's own times of something, seconds, each list ascending.
#[derive(Default)]
pub(super) struct Own {
    /// By its clock behind the calls.
    logged: Vec<f64>,
    /// The shortest that it can have been: from behind the call that began it to before the one that ended it.
    least: Vec<f64>,
    /// The longest.
    most: Vec<f64>,
}

impl Own {
    /// What began and ended between two moments each, nanoseconds.
    pub(super) fn add(&mut self, began: (u64, u64), ended: (u64, u64)) {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        self.logged.push(seconds(began.1, ended.1));
        self.least.push(seconds(began.1, ended.0));
        self.most.push(seconds(began.0, ended.1));
    }

    pub(super) fn sorted(mut self) -> Self {
        for times in [&mut self.logged, &mut self.least, &mut self.most] {
            times.sort_by(f64::total_cmp);
        }
        self
    }
}

/// When documents had so many stages, their own file apart.
fn ends(log: &[Line], stages: usize) -> BTreeMap<&str, (u64, u64)> {
    let of_stage = log.iter().filter(|line| usize::try_from(line.stage) == Ok(stages));
    of_stage.map(|line| (line.doc.as_str(), (line.placing, line.end))).collect()
}

/// The writer's own times of a stage.
pub(super) fn times(log: &[Line], at: usize, is_marked: bool) -> Own {
    let mut own = Own::default();
    let ends = ends(log, at);
    for line in log.iter().filter(|line| line.name == STAGES[at]) {
        let before = ends.get(line.doc.as_str()).copied();
        let began = if is_marked { Some((line.began, line.begun)) } else { before };
        if let Some(began) = began {
            own.add(began, (line.placing, line.end));
        }
    }
    own.sorted()
}

/// From the end of the stage before to the marker of this one.
fn transitions(log: &[Line], at: usize) -> Own {
    let mut own = Own::default();
    let ends = ends(log, at);
    for line in log.iter().filter(|line| line.name == STAGES[at]) {
        if let Some(before) = ends.get(line.doc.as_str()) {
            own.add(*before, (line.began, line.begun));
        }
    }
    own.sorted()
}

/// Median and mean by the log's own clock; and each percentile between the least and the most that it can be by that clock,
/// which is read once the interpreter's lock and a processor are there again: on a busy machine long after a call.
pub(super) fn agrees(label: &str, own: &Own, got: &Dist) -> Result<()> {
    let n = own.logged.len();
    ensure!(got.count == n as u64, "{label}: {} timed, {n} logged", got.count);
    if n == 0 {
        return Ok(());
    }
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let mut numbers = Vec::new();
    for (name, share, got) in [
        ("p50", 0.50, got.p50),
        ("p90", 0.90, got.p90),
        ("p95", 0.95, got.p95),
        ("p99", 0.99, got.p99),
        ("max", 1.0, got.max),
    ] {
        let got = got.with_context(|| format!("{label}: no {name}"))?;
        let [logged, least, most] =
            [&own.logged, &own.least, &own.most].map(|times| percentile(times, share));
        numbers.push(format!("{name} {:.2}/{:.2}", logged * 1e3, got * 1e3));
        STAGE_TIME.agree(&format!("{label}: {name}"), got.clamp(least, most), got)?;
        if share < 0.6 {
            STAGE_TIME.agree(&format!("{label}: {name}"), logged, got)?;
        }
    }
    let got = got.mean.with_context(|| format!("{label}: no mean"))?;
    numbers.push(format!("mean {:.2}/{:.2}", mean(&own.logged) * 1e3, got * 1e3));
    STAGE_TIME.agree(&format!("{label}: mean"), mean(&own.logged), got)?;
    say(&format!("    {label}, own log / probe, ms: {}", numbers.join(", ")));
    Ok(())
}

/// A file that was open before the attach is counted from then on.
fn old_file_is_counted() -> Result<()> {
    #[derive(Deserialize)]
    struct Calls {
        class: String,
        op: String,
        #[serde(rename = "calls")]
        count: u64,
        bytes: u64,
    }
    let layout = Layout { name: "plain", rule: BY_DOCUMENT, folder: "checkpoints" };
    let (writer, outcome, log) = watched(&layout, 3)?;
    let calls: Vec<Calls> = outcome.report.at("/files")?;
    let other = calls.iter().find(|calls| calls.class == "other" && calls.op == "write");
    let other = other.context("no write to another file")?;
    // The old file's one, and the log's.
    let logged = log.len() as u64;
    let text = std::fs::metadata(writer.home().join("log.jsonl"))?.len();
    ensure!(
        (other.count, other.bytes) == (logged + 1, text + 1000),
        "{} calls, {} bytes",
        other.count,
        other.bytes
    );
    Ok(())
}

/// What the system refused is an error by its name, and the file that was given up a lost one; nobody's stage is.
fn failed_files_are_told() -> Result<()> {
    let layout = Layout { name: "failing", rule: BY_DOCUMENT, folder: "checkpoints" };
    let mut writer = Writer::start(layout.name, 4, 1)?;
    let probe = Probe::attach_with(writer.pid(), &profile(layout.rule), &[])?;
    let log = writer.run()?;
    let outcome = probe.finish()?;
    outcome.report.nothing_lost()?;
    let checkpoints: Vec<Checkpoint> = outcome.report.at("/checkpoints")?;
    let [checkpoint] = checkpoints.as_slice() else { anyhow::bail!("{checkpoints:?}") };
    let written = log.iter().filter(|line| line.stage > 0).count() as u64;
    let expected = BTreeMap::from([("EFBIG".to_owned(), written)]);
    ensure!(
        (checkpoint.files, checkpoint.never_placed) == (written, written) && checkpoint.errors == expected,
        "{checkpoint:?}, {written} were written"
    );
    let stages: Vec<Stage> = outcome.report.at("/stages")?;
    ensure!(stages.iter().all(|stage| (stage.documents, stage.repeated) == (4, 0)), "{stages:?}");
    Ok(())
}
