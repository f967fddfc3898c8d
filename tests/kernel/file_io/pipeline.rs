//! The sample pipeline itself, whose documents take turns on two threads while others are uploaded: its stages by the log
//! that it writes with its own clock.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{probe::Probe, servers, wait};
use serde::Deserialize;

use super::stages::{BY_DOCUMENT, Checkpoint, Own, Pipeline, Stage, agrees};
use crate::{Suite, add_timed};

pub(crate) fn add_to(suite: &mut Suite) {
    add_timed!(suite, stages_by_its_own_log);
}

const DOCUMENTS: u32 = 40;
/// After it a document is done.
const LAST: &str = "export";

/// A stage of a document, nanoseconds.
#[derive(Debug, Deserialize)]
struct Line {
    doc: String,
    /// From 1.
    stage: u32,
    name: String,
    /// Before its checkpoint was written.
    work_end_ns: u64,
    /// Behind that.
    end_ns: u64,
}

fn read(log: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(log).context("failed to read the pipeline's log")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("a line `{line}`"))).collect()
}

fn stages_by_its_own_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = servers::docpipeline(folder.path())?;
    let profile = format!("name = \"test\"\n[[stage]]\nfile = {BY_DOCUMENT:?}\n");
    let probe = Probe::attach_with(server.pid(), &profile, &[])?;
    servers::upload(&server, DOCUMENTS)?;
    let path = folder.path().join("stages.jsonl");
    let log = wait::until("the last document", 2 * wait::SOON, || {
        let log = read(&path)?;
        let done = log.iter().filter(|line| line.name == LAST).count();
        Ok((done == DOCUMENTS as usize).then_some(log))
    })?;
    server.settle()?;
    let outcome = probe.finish()?;
    outcome.report.nothing_lost()?;

    let mut by_stage: BTreeMap<u32, BTreeMap<&str, &Line>> = BTreeMap::new();
    for line in &log {
        by_stage.entry(line.stage).or_default().insert(&line.doc, line);
    }
    let stages: Vec<Stage> = outcome.report.at("/stages")?;
    ensure!(stages.len() == by_stage.len(), "{} stages, {} logged", stages.len(), by_stage.len());
    for (stage, (index, lines)) in stages.iter().zip(&by_stage) {
        let name = lines.values().next().map(|line| line.name.as_str());
        ensure!(name.is_some_and(|name| stage.name.ends_with(name)), "{} instead of {name:?}", stage.name);
        let documents = u64::from(DOCUMENTS);
        ensure!((stage.documents, stage.repeated) == (documents, 0), "{stage:?}");
        // Nothing but a first checkpoint tells when a document began.
        let Some(before) = by_stage.get(&(index - 1)) else { continue };
        let mut own = Own::default();
        for (doc, line) in lines {
            let began = before.get(doc).context("a stage without the one before")?;
            own.add((began.work_end_ns, began.end_ns), (line.work_end_ns, line.end_ns));
        }
        agrees(&format!("docpipeline {}", stage.name), &own.sorted(), &stage.time_s)?;
    }
    let pipeline: Vec<Pipeline> = outcome.report.at("/pipeline")?;
    ensure!(pipeline.len() == 1 && pipeline[0].documents == u64::from(DOCUMENTS), "{pipeline:?}");

    let checkpoints: Vec<Checkpoint> = outcome.report.at("/checkpoints")?;
    let [checkpoint] = checkpoints.as_slice() else { anyhow::bail!("{checkpoints:?}") };
    let (mut files, mut bytes) = (0, 0);
    for document in fs::read_dir(folder.path().join("checkpoints"))? {
        for file in fs::read_dir(document?.path())? {
            files += 1;
            bytes += file?.metadata()?.len();
        }
    }
    ensure!(
        (checkpoint.files, checkpoint.bytes) == (files, bytes) && files == log.len() as u64,
        "{checkpoint:?}, {files} files with {bytes} bytes, {} logged",
        log.len()
    );
    Ok(())
}
