//! Sections about files, checkpoints and stages.

use super::WIDTH;
use super::format::{
    NONE, bytes, count, integer, maybe_seconds, percent, plain, seconds, three_digits, wrap,
};
use super::section::table;
use crate::report::model::{Checkpoint, Pipeline, Report, Stage};

/// All documents together, and those that are stuck.
pub(super) fn pipeline(report: &Report) -> String {
    let several = report.pipeline.len() > 1;
    report.pipeline.iter().map(|pipeline| documents(pipeline, several)).collect()
}

fn documents(pipeline: &Pipeline, is_one_of_several: bool) -> String {
    let guess = if pipeline.guessed { " (a guess: the profile has no stage rules)" } else { "" };
    let completion = pipeline
        .completion_ratio
        .map_or_else(String::new, |ratio| format!(" ({} of those begun)", percent(ratio)));
    let rate =
        pipeline.documents_per_min.map_or_else(String::new, |rate| format!(", {}/min", three_digits(rate)));
    let phase = if is_one_of_several { format!(" in {}", plain(&pipeline.phase)) } else { String::new() };
    let mut text = format!("DOCUMENTS{phase}{guess}\n");
    let line = format!(
        "seen: {}, {} completed{completion}{rate}, {} in flight, {} resumed, {}",
        count(pipeline.documents, "document"),
        pipeline.completed,
        pipeline.in_flight,
        pipeline.resumed,
        count(pipeline.repeated_stages, "repeated stage")
    );
    text += &(wrap(&line, WIDTH, 2) + "\n");
    if pipeline.time_s.count > 0 {
        let time = &pipeline.time_s;
        let line = format!(
            "whole way: p50 {}, p95 {}, max {}",
            maybe_seconds(time.p50),
            maybe_seconds(time.p95),
            maybe_seconds(time.max)
        );
        text += &(wrap(&line, WIDTH, 2) + "\n");
    }
    for stuck in &pipeline.stuck {
        let after = stuck.after.as_deref().map_or_else(|| "its beginning".to_owned(), plain);
        let line =
            format!("- {} unfinished after {after}, quiet for {}", plain(&stuck.doc), seconds(stuck.quiet_s));
        text += &(wrap(&line, WIDTH, 2) + "\n");
    }
    text
}

/// One row per stage, in their order.
pub(super) fn stages(report: &Report) -> String {
    if report.stages.is_empty() {
        return String::new();
    }
    let share =
        |ratio: Option<f64>| ratio.map_or_else(|| NONE.to_owned(), |ratio| format!("{:.0}%", ratio * 100.0));
    let row = |stage: &Stage| {
        let number = stage.index.map_or_else(String::new, |index| format!("{index} "));
        [
            format!("{number}{}", plain(&stage.stage)),
            integer(stage.documents),
            maybe_seconds(stage.time_s.p50),
            maybe_seconds(stage.time_s.p95),
            maybe_seconds(stage.time_s.max),
            maybe_seconds(stage.transition_s.p95),
            share(stage.shares.file_io),
            share(stage.shares.sqlite_wait),
            share(stage.shares.gpu_busy),
            share(stage.shares.other),
        ]
    };
    let phases: Vec<&[Stage]> = report.stages.chunk_by(|a, b| a.phase == b.phase).collect();
    let tables = phases.iter().map(|stages| {
        let title = titled("STAGES", &stages[0].phase, phases.len());
        let titles = [title.as_str(), "docs", "p50", "p95", "max", "wait p95", "file", "sql", "gpu", "other"];
        table(&titles, stages.iter().map(row), WIDTH)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// A table's title, with its phase where there are several.
fn titled(title: &str, phase: &str, phases: usize) -> String {
    if phases > 1 { format!("{title} in {}", plain(phase)) } else { title.to_owned() }
}

/// One row per rule.
pub(super) fn checkpoints(report: &Report) -> String {
    if report.checkpoints.is_empty() {
        return String::new();
    }
    let row = |checkpoint: &Checkpoint| {
        [
            plain(&checkpoint.pattern),
            integer(checkpoint.files),
            bytes(checkpoint.bytes),
            maybe_seconds(checkpoint.total_s.p95),
            maybe_seconds(checkpoint.io_s.p95),
            maybe_seconds(checkpoint.fsync_s.p95),
            integer(checkpoint.errors.values().sum()),
            integer(checkpoint.never_placed),
        ]
    };
    let phases: Vec<&[Checkpoint]> = report.checkpoints.chunk_by(|a, b| a.phase == b.phase).collect();
    let tables = phases.iter().map(|checkpoints| {
        let title = titled("CHECKPOINTS", &checkpoints[0].phase, phases.len());
        let titles = [title.as_str(), "files", "bytes", "open p95", "I/O p95", "fsync", "errors", "lost"];
        table(&titles, checkpoints.iter().map(row), WIDTH)
    });
    let mut text = tables.collect::<Vec<_>>().join("\n");
    for checkpoint in report.checkpoints.iter().filter(|checkpoint| !checkpoint.errors.is_empty()) {
        let errors: Vec<String> =
            checkpoint.errors.iter().map(|(name, count)| format!("{} {count}", plain(name))).collect();
        text += &(wrap(&format!("- {}: {}", plain(&checkpoint.pattern), errors.join(", ")), WIDTH, 2) + "\n");
    }
    text
}

/// Calls on files.
pub(super) fn files(report: &Report) -> String {
    if report.files.is_empty() {
        return String::new();
    }
    let rows = report.files.iter().map(|calls| {
        [
            format!("{} {}", plain(&calls.class), plain(&calls.op)),
            integer(calls.calls),
            integer(calls.errors),
            maybe_seconds(calls.latency_s.p50),
            maybe_seconds(calls.latency_s.p99),
            maybe_seconds(calls.latency_s.max),
            bytes(calls.bytes),
        ]
    });
    table(&["FILE CALLS", "calls", "errors", "p50", "p99", "max", "bytes"], rows, WIDTH)
}

/// Those that took long, the slowest of each phase.
pub(super) fn slow_calls(report: &Report) -> String {
    let several = report.slow_calls.len() > 1;
    let tables = report.slow_calls.iter().map(|slow| {
        let phase = if several { format!(" in {}", plain(&slow.phase)) } else { String::new() };
        let title = format!("SLOW CALLS{phase}, {} in all", slow.calls);
        let rows = slow.slowest.iter().map(|call| {
            let path = if call.path.is_empty() { NONE.to_owned() } else { plain(&call.path) };
            let what = format!("{} {}", plain(&call.op), plain(&call.class));
            [path, what, seconds(call.took_s), seconds(call.at_s)]
        });
        table(&[title.as_str(), "call", "took", "at"], rows, WIDTH)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The disks below.
pub(super) fn disks(report: &Report) -> String {
    if report.disks.is_empty() {
        return String::new();
    }
    let rows = report.disks.iter().map(|disk| {
        [
            plain(&disk.device),
            disk.util_ratio.map_or_else(|| NONE.to_owned(), percent),
            disk.queue.map_or_else(|| NONE.to_owned(), three_digits),
            integer(disk.reads),
            maybe_seconds(disk.read_s),
            integer(disk.writes),
            maybe_seconds(disk.write_s),
        ]
    });
    let mut text = table(&["DISKS", "busy", "queue", "reads", "mean", "writes", "mean"], rows, WIDTH);
    let rows: Vec<_> = report
        .disks
        .iter()
        .flat_map(|disk| disk.requests.iter().map(move |requests| (disk, requests)))
        .map(|(disk, requests)| {
            [
                format!("{} {}", plain(&disk.device), plain(&requests.op)),
                integer(requests.requests),
                integer(requests.errors),
                maybe_seconds(requests.queue_s.p95),
                maybe_seconds(requests.latency_s.p50),
                maybe_seconds(requests.latency_s.p95),
                maybe_seconds(requests.latency_s.max),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let titles = ["DISK REQUESTS of all", "number", "errors", "queue p95", "p50", "p95", "max"];
        text += &table(&titles, rows.into_iter(), WIDTH);
    }
    text
}

/// Writes that were held back.
pub(super) fn write_stalls(report: &Report) -> String {
    report.write_stalls.as_ref().map_or_else(String::new, |stalls| {
        let line = format!(
            "WRITES HELD BACK because too much was dirty: {}, p50 {}, p95 {}, max {}",
            stalls.calls,
            maybe_seconds(stalls.stall_s.p50),
            maybe_seconds(stalls.stall_s.p95),
            maybe_seconds(stalls.stall_s.max)
        );
        wrap(&line, WIDTH, 2) + "\n"
    })
}
