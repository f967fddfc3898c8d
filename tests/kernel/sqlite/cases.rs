//! What is a wait, how it can end, and what only looks like one.

use anyhow::{Result, ensure};
use probe_tests::{locks::Hands, probe::Probe};
use serde_json::json;

use super::{
    database, databases,
    holders::{target, until_asleep},
};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        one_attempt_is_no_wait,
        giving_up,
        other_sleeps_do_not_count,
        a_wait_without_end,
        switched_off
    );
}

/// Without a timeout SQLite fails at once: an error, not a wait.
fn one_attempt_is_no_wait() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    let mut other = Hands::start()?;
    other.open("h", "h", &path, 20.0)?;
    hands.open("b", "b", &path, 0.0)?;
    let probe = Probe::attach(hands.pid(), &[])?;
    other.sql("h", "h", "BEGIN IMMEDIATE")?;
    for _ in 0..5 {
        hands.tell_sql("b", "b", "BEGIN IMMEDIATE")?;
        ensure!(hands.done()?.error.is_some());
    }
    let got = database(&probe.finish()?.report, &path)?;
    ensure!((got.lock_waits, got.attempts, got.unfinished_s.count) == (0, 0, 0), "{got:?}");
    let busy = got.statements.iter().find(|statement| statement.sql == "BEGIN IMMEDIATE");
    let busy = busy.map(|statement| (statement.busy, statement.busy_at_once, statement.busy_snapshot));
    ensure!(busy == Some((5, 5, 0)), "no snapshot was old: {got:?}");
    Ok(())
}

/// A timeout that is over before the lock is free: one wait, as long as the timeout, and an error.
fn giving_up() -> Result<()> {
    for mode in ["wal", "delete"] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("app.db");
        let (mut hands, _) = target(&path, mode)?;
        let mut other = Hands::start()?;
        other.open("h", "h", &path, 20.0)?;
        hands.open("b", "b", &path, 0.3)?;
        let probe = Probe::attach(hands.pid(), &[])?;
        other.sql("h", "h", "BEGIN IMMEDIATE")?;
        hands.tell_sql("b", "b", "BEGIN IMMEDIATE")?;
        let failed = hands.done()?;
        ensure!(failed.error.is_some(), "{failed:?}");
        other.sql("h", "h", "COMMIT")?;
        hands.sql("b", "b", "INSERT INTO t VALUES (1)")?;
        let got = database(&probe.finish()?.report, &path)?;
        ensure!((got.lock_waits, got.gave_up, got.transactions) == (1, 1, 1), "{got:?}");
        ensure!((got.wait_s.total() / failed.took_s - 1.0).abs() < 0.03, "{failed:?}, {got:?}");
        // The one that gave up is a transaction that waited, the other one did not.
        ensure!(got.contention_ratio == Some(0.5), "{got:?}");
    }
    Ok(())
}

/// Python's sleep, and the C library's in the very milliseconds that SQLite asks for, by a thread that also uses SQLite.
fn other_sleeps_do_not_count() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    let probe = Probe::attach(hands.pid(), &[])?;
    for ms in [1, 2, 5, 10] {
        hands.sql("a", "a", "INSERT INTO t VALUES (1)")?;
        hands.ask("a", "sleep", &json!({"ms": ms}))?;
        hands.ask("a", "usleep", &json!({"ms": ms, "times": 5}))?;
        hands.ask("b", "usleep", &json!({"ms": ms, "times": 5}))?;
    }
    let report = probe.finish()?.report;
    let got = database(&report, &path)?;
    ensure!((got.lock_waits, got.attempts, got.transactions) == (0, 0, 4), "{got:?}");
    ensure!(databases(&report)?.len() == 1, "sleeps made a database: {:?}", databases(&report)?);
    Ok(())
}

/// A wait that the end of the run cuts short is told as what it was so far.
fn a_wait_without_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    hands.open("b", "b", &path, 60.0)?;
    let tid = hands.sql("b", "b", "SELECT * FROM t")?.tid;
    let probe = Probe::attach(hands.pid(), &[])?;
    let held = hands.sql("a", "a", "BEGIN IMMEDIATE")?;
    hands.tell_sql("b", "b", "BEGIN IMMEDIATE")?;
    until_asleep(tid)?;
    hands.ask("c", "sleep", &json!({"ms": 400}))?;
    let got = database(&probe.finish()?.report, &path)?;
    ensure!((got.lock_waits, got.gave_up, got.unfinished_s.count) == (0, 0, 1), "{got:?}");
    ensure!(got.unfinished_s.largest()? > 0.4, "{got:?}");
    ensure!(got.worst()?.tid == held.tid, "{got:?}");
    Ok(())
}

/// The room is off: nothing is said of databases, and that is said.
fn switched_off() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    let probe = Probe::attach(hands.pid(), &["--skip", "sqlite"])?;
    hands.sql("a", "a", "INSERT INTO t VALUES (1)")?;
    let report = probe.finish()?.report;
    ensure!(databases(&report)?.is_empty());
    let spots: serde_json::Value = report.at("/health/blind_spots")?;
    ensure!(spots.to_string().contains("SQLite"), "{spots}");
    Ok(())
}
