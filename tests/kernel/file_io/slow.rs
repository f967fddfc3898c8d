//! Calls that wait for the disk: what strace measures on the same calls, and which of them are named as slow.

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    probe::{Outcome, Probe},
    say::say,
    stats::{Tolerance, percentile},
    strace::Timed,
};
use serde::Deserialize;

use super::{
    stages::{BY_DOCUMENT, Checkpoint, profile},
    writer::Writer,
};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, syncs_are_straces, slow_syncs_are_named);
}

/// strace wakes up twice per call.
const TOLERANCE: Tolerance = Tolerance { relative: 0.02, absolute: 0.001 };

/// A run whose syncs strace times too, ascending.
fn timed(layout: &str, documents: u32) -> Result<(Outcome, Checkpoint, Vec<f64>)> {
    let mut writer = Writer::start(layout, documents, 1)?;
    let probe = Probe::attach_with(writer.pid(), &profile(BY_DOCUMENT), &[])?;
    let strace = Timed::attach(writer.pid(), "fsync")?;
    writer.run()?;
    let mut expected = strace.finish()?;
    let outcome = probe.finish()?;
    outcome.report.nothing_lost()?;
    expected.sort_by(f64::total_cmp);
    let mut checkpoints: Vec<Checkpoint> = outcome.report.at("/checkpoints")?;
    ensure!(checkpoints.len() == 1, "{checkpoints:?}");
    let checkpoint = checkpoints.swap_remove(0);
    let got = &checkpoint.fsync_s;
    ensure!(got.count == expected.len() as u64, "{} and {}", got.count, expected.len());
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    crate::watch::agrees(
        &format!("fsync ({layout}), strace / probe: p50"),
        TOLERANCE,
        percentile(&expected, 0.5),
        got.p50,
    )?;
    // strace itself may wait for a processor within a call, never the other way round.
    for (name, longest, got) in [
        ("mean", mean, got.mean),
        ("p95", percentile(&expected, 0.95), got.p95),
        ("max", percentile(&expected, 1.0), got.max),
    ] {
        let got = got.with_context(|| format!("no {name}"))?;
        TOLERANCE.agree(&format!("fsync ({layout}), strace / probe: {name}"), longest.min(got), got)?;
        say(&format!(
            "    fsync ({layout}) {name}, strace / probe, ms: {:.3}/{:.3}",
            longest * 1e3,
            got * 1e3
        ));
    }
    Ok((outcome, checkpoint, expected))
}

/// The time inside fsync is the one that strace measures on the same calls.
fn syncs_are_straces() -> Result<()> {
    let (_, checkpoint, expected) = timed("mkstemp", 20)?;
    let got = &checkpoint.fsync_s;
    ensure!(got.count == 100, "{checkpoint:?}");
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    crate::watch::agrees("fsync, strace / probe: mean", TOLERANCE, mean, got.mean)?;
    crate::watch::agrees("fsync, strace / probe: p95", TOLERANCE, percentile(&expected, 0.95), got.p95)?;
    Ok(())
}

/// The same where a sync waits for 96 MiB; those of 50 ms and more are named, the slowest first, and counted.
fn slow_syncs_are_named() -> Result<()> {
    #[derive(Debug, Deserialize)]
    struct Slow {
        calls: u64,
        slowest: Vec<Call>,
    }
    #[derive(Debug, Deserialize)]
    struct Call {
        op: String,
        class: String,
        path: String,
        took_s: f64,
    }
    let (outcome, checkpoint, expected) = timed("heavy", 1)?;
    let told: Vec<Slow> = if outcome.report.0.get("slow_calls").is_some() {
        outcome.report.at("/slow_calls")?
    } else {
        Vec::new()
    };
    let named: Vec<&Call> = told.iter().flat_map(|slow| &slow.slowest).collect();
    let syncs: Vec<&&Call> = named.iter().filter(|call| call.op == "fsync").collect();
    let at_least = |limit: f64| expected.iter().filter(|took| **took >= limit).count();
    // What lies at the limit may be on either side; what strace waited itself is no part of a call.
    let (least, most) = (at_least(0.1).min(10), at_least(0.0475));
    ensure!((least..=most).contains(&syncs.len()) || named.len() == 10, "{told:?}, strace: {expected:?}");
    ensure!(told.iter().all(|slow| slow.calls >= slow.slowest.len() as u64), "{told:?}");
    ensure!(named.is_sorted_by(|a, b| a.took_s >= b.took_s), "{told:?}");
    ensure!(
        syncs.iter().all(|call| call.class == "checkpoint" && call.path.contains("/checkpoints/d000")),
        "{told:?}"
    );
    let slowest = checkpoint.fsync_s.largest()?;
    if slowest >= 0.0505 {
        let sync = syncs.first().with_context(|| format!("{slowest} s, but {told:?}"))?;
        TOLERANCE.agree("the slowest sync", slowest, sync.took_s)?;
        ensure!(outcome.stdout.contains("SLOW CALLS"), "{}", outcome.stdout);
    }
    Ok(())
}
