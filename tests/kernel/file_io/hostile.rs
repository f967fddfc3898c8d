//! Names, directories and rules that nobody would choose.

use std::time::Instant;

use anyhow::{Result, ensure};
use probe_tests::{locks::Hands, probe::Probe};
use serde_json::{Value, json};

use super::{
    stages::{
        BY_DOCUMENT, Checkpoint, Layout, Pipeline, STAGE_TIME, STAGES, Stage, agrees, profile, times, watched,
    },
    writer::Writer,
};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        ten_thousand_checkpoints,
        a_directory_is_deleted,
        names_are_too_long,
        names_are_garbled,
        nothing_matches,
        documents_interleave
    );
}

const fn layout(name: &'static str) -> Layout {
    Layout { name, rule: BY_DOCUMENT, folder: "checkpoints" }
}

/// All documents went through all stages, once, and every file and byte is there.
fn all_is_counted(layout: &Layout, documents: u32) -> Result<Value> {
    let (_writer, outcome, log) = watched(layout, documents)?;
    let report = &outcome.report;
    let n = u64::from(documents);
    let stages: Vec<Stage> = report.at("/stages")?;
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    ensure!(names == STAGES, "stages in the order {names:?}");
    for (at, stage) in stages.iter().enumerate() {
        ensure!((stage.documents, stage.repeated, stage.untimed) == (n, 0, 0), "{stage:?}");
        agrees(&format!("{} {}", layout.name, stage.name), &times(&log, at, false), &stage.time_s)?;
    }
    let pipeline: Vec<Pipeline> = report.at("/pipeline")?;
    ensure!(pipeline.iter().all(|all| (all.documents, all.completed) == (n, n)), "{pipeline:?}");
    let checkpoints: Vec<Checkpoint> = report.at("/checkpoints")?;
    let written = log.iter().filter(|line| line.stage > 0);
    let bytes: u64 = written.map(|line| line.bytes).sum();
    ensure!(
        checkpoints.iter().map(|rule| (rule.files, rule.bytes)).eq([(n * STAGES.len() as u64, bytes)]),
        "{checkpoints:?}, {bytes} bytes were written"
    );
    // Nothing that a terminal would act on.
    ensure!(!outcome.stdout.contains('\x1b'), "{:?}", outcome.stdout);
    Ok(report.0.clone())
}

/// 2000 documents at once: all are there, and memory is not for each of their files.
fn ten_thousand_checkpoints() -> Result<()> {
    let report = all_is_counted(&layout("small"), 2000)?;
    let rss = report.pointer("/health/agent_rss_bytes").and_then(Value::as_u64);
    ensure!(rss.is_some_and(|rss| rss < 150 << 20), "{rss:?} bytes");
    Ok(())
}

/// The checkpoints of a document are deleted while it is on its way, with a file that is still open: that one was never in
/// place, the others were.
fn a_directory_is_deleted() -> Result<()> {
    let report = all_is_counted(&layout("deleted"), 40)?;
    ensure!(report.pointer("/checkpoints/0/never_placed") == Some(&json!(40)), "{}", report["checkpoints"]);
    Ok(())
}

/// Paths longer than the kernel side's room for them: the rules look at their ends, which are there.
fn names_are_too_long() -> Result<()> {
    all_is_counted(&layout("deep"), 20)?;
    // Of a rename by such a path the new name is not known: that is said.
    let (_writer, outcome, log) = watched(&layout("far"), 2)?;
    let renames = log.iter().filter(|line| line.stage > 0).count();
    let spots: Vec<Value> = outcome.report.at("/health/blind_spots")?;
    let wanted = format!("new names of files: {renames} renames");
    ensure!(
        spots.iter().any(|spot| spot["what"].as_str().is_some_and(|what| what.starts_with(&wanted))),
        "{spots:?}"
    );
    Ok(())
}

fn names_are_garbled() -> Result<()> {
    all_is_counted(&layout("garbled"), 20).map(drop)
}

/// A rule that fits no file is said to, with what it could have been meant for.
fn nothing_matches() -> Result<()> {
    let rule = "results/{doc}/{index}_{stage}.json";
    let mut writer = Writer::start("plain", 2, 1)?;
    let probe = Probe::attach_with(writer.pid(), &profile(rule), &[])?;
    writer.run()?;
    let outcome = probe.finish()?;
    let warnings: Vec<String> = outcome.report.at("/warnings")?;
    let near = writer.home().join("checkpoints/d0000/01_ingest.json");
    let is_told = |warning: &String| warning.contains(rule) && warning.contains(&near.display().to_string());
    ensure!(warnings.iter().any(is_told), "{warnings:?}");
    ensure!(outcome.report.0.get("stages").is_none(), "{}", outcome.report.0["stages"]);
    Ok(())
}

/// One thread has two documents in the same stage at once: each has its own time.
fn documents_interleave() -> Result<()> {
    let mut hands = Hands::start()?;
    hands.ask("a", "sleep", &json!({"ms": 1}))?;
    let probe = Probe::attach(hands.pid(), &[])?;
    // Before and behind each marker.
    let mut moments = Vec::new();
    for (doc, moment, ms) in
        [("one", "begin", 20), ("two", "begin", 60), ("one", "end", 150), ("two", "end", 0)]
    {
        let before = Instant::now();
        hands.mark("a", "ocr", doc, moment)?;
        moments.push((before, Instant::now()));
        hands.ask("a", "sleep", &json!({"ms": ms}))?;
    }
    let outcome = probe.finish()?;
    outcome.report.nothing_lost()?;
    let stages: Vec<Stage> = outcome.report.at("/stages")?;
    ensure!(stages.iter().map(|stage| (stage.name.as_str(), stage.documents)).eq([("ocr", 2)]), "{stages:?}");
    let bounds = |begin: usize, end: usize| {
        let least = moments[end].0.duration_since(moments[begin].1).as_secs_f64();
        (least, moments[end].1.duration_since(moments[begin].0).as_secs_f64())
    };
    let got = &stages[0].time_s;
    for (label, (least, most), got) in
        [("one", bounds(0, 2), got.smallest()?), ("two", bounds(1, 3), got.largest()?)]
    {
        STAGE_TIME.agree(label, got.clamp(least, most), got)?;
    }
    Ok(())
}
