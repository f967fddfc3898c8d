//! Stage times, documents, counts and bytes, in every layout, against the writer's own log and the directory.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    probe::{Outcome, Probe},
    report::Dist,
    say::say,
    stats::{Tolerance, percentile},
    strace::Timed,
};
use serde::Deserialize;

use super::writer::{Line, Writer};
use crate::{Suite, add};

const STAGES: [&str; 5] = ["ingest", "ocr", "layout", "tables", "export"];
const DOCUMENTS: u32 = 200;
const THREADS: u32 = 4;
/// 2 % or 5 ms: what a stage's time may be off by.
const STAGE_TIME: Tolerance = Tolerance { relative: 0.02, absolute: 0.005 };

/// Stages that take longer wait for their turn, seconds.
const LONG_S: f64 = 0.1;

/// The rules of a layout, and the folder of its checkpoints.
struct Layout {
    name: &'static str,
    rule: &'static str,
    folder: &'static str,
}

const BY_DOCUMENT: &str = "checkpoints/{doc}/{index}_{stage}.json";
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
struct Stage {
    #[serde(rename = "stage")]
    name: String,
    documents: u64,
    repeated: u64,
    untimed: u64,
    time_s: Dist,
    transition_s: Dist,
}

#[derive(Debug, Deserialize)]
struct Checkpoint {
    files: u64,
    bytes: u64,
    never_placed: u64,
    errors: BTreeMap<String, u64>,
    total_s: Dist,
    io_s: Dist,
    fsync_s: Dist,
}

#[derive(Debug, Deserialize)]
struct Pipeline {
    documents: u64,
    begun: u64,
    completed: u64,
    in_flight: u64,
    repeated_stages: u64,
    time_s: Dist,
}

pub(crate) fn add_to(suite: &mut Suite) {
    for layout in &LAYOUTS {
        suite.add(&format!("file_io::stages::layout_{}", layout.name), move || layout_is_exact(layout));
    }
    add!(suite, old_file_is_counted, failed_files_are_told, syncs_are_straces);
}

/// A profile with the rule of a layout.
fn profile(rule: &str) -> String {
    let order: Vec<String> = STAGES.iter().map(|stage| format!("{stage:?}")).collect();
    format!(
        "name = \"test\"\n[stages]\norder = [{}]\nbegins = \"uploads/{{doc}}.pdf\"\n[[stage]]\nfile = {rule:?}\n",
        order.join(", ")
    )
}

/// A whole run of the writer under the probe.
fn watched(layout: &Layout, documents: u32) -> Result<(Writer, Outcome, Vec<Line>)> {
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
        let untimed = u64::from(DOCUMENTS) - expected.len() as u64;
        ensure!(
            (stage.documents, stage.repeated, stage.untimed) == (u64::from(DOCUMENTS), 0, untimed),
            "{stage:?}, expected {} timed",
            expected.len()
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

/// The writer's own times of a stage, seconds, ascending.
fn times(log: &[Line], at: usize, is_marked: bool) -> Vec<f64> {
    let ends: BTreeMap<(&str, i32), u64> =
        log.iter().map(|line| ((line.doc.as_str(), line.stage), line.end)).collect();
    let mut times: Vec<f64> = log
        .iter()
        .filter(|line| line.name == STAGES[at])
        .filter_map(|line| {
            let before = ends.get(&(line.doc.as_str(), line.stage - 1)).copied();
            let began = if is_marked { Some(line.began) } else { before };
            Some((line.end - began?) as f64 / 1e9)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// From the end of the stage before to the marker of this one.
fn transitions(log: &[Line], at: usize) -> Vec<f64> {
    let before: BTreeMap<&str, u64> = log
        .iter()
        .filter(|line| line.name == STAGES[at - 1])
        .map(|line| (line.doc.as_str(), line.end))
        .collect();
    let mut times: Vec<f64> = log
        .iter()
        .filter(|line| line.name == STAGES[at])
        .map(|line| (line.began - before[line.doc.as_str()]) as f64 / 1e9)
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The log's own clock is read after the call returned and the interpreter got its lock back: on a busy machine some of
/// these waits are longer than what is allowed. The largest time is left out for that, and p95 where the stages themselves
/// are hardly longer than a turn on the processor.
fn agrees(label: &str, expected: &[f64], got: &Dist) -> Result<()> {
    ensure!(got.count == expected.len() as u64, "{label}: {} timed, {} logged", got.count, expected.len());
    if expected.is_empty() {
        return Ok(());
    }
    let pairs = [
        ("p50", percentile(expected, 0.50), got.p50),
        ("mean", expected.iter().sum::<f64>() / expected.len() as f64, got.mean),
    ];
    let mut pairs = pairs.to_vec();
    if percentile(expected, 0.50) > LONG_S {
        pairs.push(("p95", percentile(expected, 0.95), got.p95));
    }
    let mut numbers = Vec::new();
    for (name, expected, got) in pairs {
        let got = got.with_context(|| format!("{label}: no {name}"))?;
        numbers.push(format!("{name} {:.2}/{:.2}", expected * 1e3, got * 1e3));
        STAGE_TIME.agree(&format!("{label}: {name}"), expected, got)?;
    }
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

/// The time inside fsync is the one that strace measures on the same calls.
fn syncs_are_straces() -> Result<()> {
    /// strace wakes up twice per call.
    const TOLERANCE: Tolerance = Tolerance { relative: 0.02, absolute: 0.001 };
    let mut writer = Writer::start("mkstemp", 20, 1)?;
    let probe = Probe::attach_with(writer.pid(), &profile(BY_DOCUMENT), &[])?;
    let strace = Timed::attach(writer.pid(), "fsync")?;
    writer.run()?;
    let mut expected = strace.finish()?;
    let outcome = probe.finish()?;
    expected.sort_by(f64::total_cmp);
    let checkpoints: Vec<Checkpoint> = outcome.report.at("/checkpoints")?;
    let [checkpoint] = checkpoints.as_slice() else { anyhow::bail!("{checkpoints:?}") };
    let got = &checkpoint.fsync_s;
    ensure!(got.count == expected.len() as u64 && got.count == 100, "{} and {}", got.count, expected.len());
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    crate::watch::agrees("fsync, strace / probe: mean", TOLERANCE, mean, got.mean)?;
    crate::watch::agrees("fsync, strace / probe: p95", TOLERANCE, percentile(&expected, 0.95), got.p95)
}
