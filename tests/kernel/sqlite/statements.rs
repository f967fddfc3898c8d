//! Statements, by what the application executed: counts, rows, failures, durations, and whose lock was held for what.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    host,
    locks::{Contended, Database, Hands, Statement, contend},
    probe::Probe,
    wait,
};

use super::{
    Pair, database,
    holders::{target, until_asleep},
};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        what_was_executed,
        inside_a_program,
        without_symbols,
        a_snapshot_that_is_old,
        a_shared_connection,
        what_it_was_held_for,
        waits_without_statements
    );
}

/// Takes a while, and is a single row.
const SLOW: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x < 1000000) SELECT count(*) FROM c";
/// The same, as it is shown.
const SLOW_SHOWN: &str =
    "WITH RECURSIVE c (x) AS (SELECT ? UNION ALL SELECT x + ? FROM c WHERE x < ?) SELECT count (*) FROM c";

pub(super) fn statement<'a>(database: &'a Database, sql: &str) -> Result<&'a Statement> {
    let found: Vec<&Statement> = database.statements.iter().filter(|found| found.sql == sql).collect();
    ensure!(found.len() == 1, "`{sql}` stands {} times in {:?}", found.len(), database.statements);
    Ok(found[0])
}

fn what_was_executed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    hands.sql("a", "a", "CREATE UNIQUE INDEX i ON t (x)")?;
    let probe = Probe::attach(hands.pid(), &[])?;
    for number in 0..25 {
        hands.sql("a", "a", &format!("INSERT INTO t VALUES ({number}) -- secret{number}"))?;
    }
    for name in ["'one'", "'two'", "x'03'"] {
        hands.sql("a", "a", &format!("SELECT x FROM t WHERE x != {name} ORDER BY x"))?;
    }
    hands.tell_sql("a", "a", "INSERT INTO t VALUES (7)")?;
    ensure!(hands.done()?.error.is_some(), "there is a 7 already");
    let slow = hands.sql("a", "a", SLOW)?;
    let report = probe.finish()?.report;
    let got = database(&report, &path)?;
    let inserts = statement(&got, "INSERT INTO t VALUES (?)")?;
    ensure!((inserts.calls, inserts.rows, inserts.errors, inserts.busy) == (26, 0, 1, 0), "{inserts:?}");
    let selects = statement(&got, "SELECT x FROM t WHERE x != ? ORDER BY x")
        .or_else(|_| statement(&got, "SELECT x FROM t WHERE x <> ? ORDER BY x"))?;
    ensure!((selects.calls, selects.rows, selects.errors) == (3, 75, 0), "{selects:?}");
    let seen = statement(&got, SLOW_SHOWN)?;
    ensure!((seen.calls, seen.rows) == (1, 1), "{seen:?}");
    ensure!((seen.total_s / slow.took_s - 1.0).abs() < 0.03, "{} s, {seen:?}", slow.took_s);
    ensure!(got.statements.len() == 3, "{:?}", got.statements);
    ensure!(!report.0.to_string().contains("secret"), "a comment was kept");
    Ok(())
}

/// SQLite is part of the program, and its functions are local ones: each text is another one, and all are the same.
fn inside_a_program() -> Result<()> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let path = folder.path().join("app.db");
    let binary = env!("CARGO_BIN_EXE_sqlite-contend");
    let mut program = contend(binary, &path, "wal", (1, 2), Duration::from_millis(500))?;
    let probe = Probe::attach(program.pid(), &[])?;
    program.say("go")?;
    let log: Contended = program.answer()?;
    let got = database(&probe.finish()?.report, &path)?;
    for sql in ["BEGIN IMMEDIATE", "INSERT INTO t VALUES (?)", "COMMIT"] {
        let seen = statement(&got, sql)?;
        ensure!((seen.calls, seen.errors) == (log.transactions, 0), "{log:?}, {seen:?}");
    }
    // Its text is not in memory when SQLite is called with it.
    let seen = statement(&got, "SELECT count (*) FROM t")?;
    ensure!((seen.calls, seen.errors) == (2, 0), "{seen:?}");
    let calls: u64 = got.statements.iter().map(|statement| statement.calls).sum();
    ensure!(calls == log.statements, "{log:?}, {:?}", got.statements);
    let waits: u64 = got.statements.iter().map(|statement| statement.lock_waits).sum();
    ensure!(waits == log.waits && got.lock_waits == log.waits, "{log:?}, {:?}", got.statements);
    Ok(())
}

/// Without symbols there are no statements, and that is said.
fn without_symbols() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let binary = folder.path().join("stripped");
    std::fs::copy(env!("CARGO_BIN_EXE_sqlite-contend"), &binary)?;
    ensure!(Command::new("strip").arg(&binary).status()?.success());
    let binary = binary.to_string_lossy();
    let mut program = contend(&binary, &path, "wal", (1, 2), Duration::from_millis(300))?;
    let probe = Probe::attach(program.pid(), &[])?;
    program.say("go")?;
    let log: Contended = program.answer()?;
    let report = probe.finish()?.report;
    let got = database(&report, &path)?;
    ensure!(got.transactions == log.transactions && got.statements.is_empty(), "{log:?}, {got:?}");
    let spots: serde_json::Value = report.at("/health/blind_spots")?;
    ensure!(spots.to_string().contains("SQLite statements of 1 process"), "{spots}");
    Ok(())
}

/// Somebody has written since the transaction began to read: an error at once, and no wait.
fn a_snapshot_that_is_old() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    hands.open("b", "b", &path, 20.0)?;
    let probe = Probe::attach(hands.pid(), &[])?;
    hands.sql("a", "a", "BEGIN")?;
    hands.sql("a", "a", "SELECT * FROM t")?;
    hands.sql("b", "b", "INSERT INTO t VALUES (1)")?;
    hands.tell_sql("a", "a", "UPDATE t SET x = 2")?;
    ensure!(hands.done()?.error.is_some());
    hands.sql("a", "a", "ROLLBACK")?;
    let got = database(&probe.finish()?.report, &path)?;
    let update = statement(&got, "UPDATE t SET x = ?")?;
    ensure!(
        (update.errors, update.busy, update.busy_at_once, update.busy_snapshot) == (1, 1, 1, 1),
        "{update:?}"
    );
    ensure!((got.lock_waits, got.gave_up) == (0, 0), "{got:?}");
    Ok(())
}

/// Two threads use one connection: the second waits for the first, and for no lock of the database.
fn a_shared_connection() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, first) = target(&path, "wal")?;
    hands.sql("b", "a", "SELECT * FROM t")?;
    let probe = Probe::attach(hands.pid(), &[])?;
    // Prepared and locked after the attach: that says where the connection leads.
    hands.sql("b", "a", "SELECT count(*) FROM t")?;
    let before = host::ran_ns(first)?;
    hands.tell_sql("a", "a", SLOW)?;
    wait::until("a thread that computes in SQLite", wait::SOON, || {
        Ok((host::ran_ns(first)? > before + 20_000_000).then_some(()))
    })?;
    hands.tell_sql("b", "a", "SELECT x FROM t")?;
    let done = [hands.done()?, hands.done()?];
    ensure!(done.iter().all(|done| done.error.is_none()), "{done:?}");
    let second = done.iter().find(|done| done.thread == "b");
    let waited = second.map_or(0.0, |done| done.took_s);
    let got = database(&probe.finish()?.report, &path)?;
    let seen = got.mutex_wait_s.total();
    ensure!(waited > 0.05, "nothing was waited for: {done:?}");
    ensure!((seen / waited - 1.0).abs() < 0.05, "{waited} s by its own clock, {seen} s seen");
    ensure!((got.lock_waits, got.unfinished_s.count) == (0, 0), "{got:?}");
    Ok(())
}

/// A transaction is held for the statement in it that took longest.
fn what_it_was_held_for() -> Result<()> {
    for mode in ["wal", "delete"] {
        let Pair { folder: _folder, path, mut hands, holder, waiter } = Pair::new(mode)?;
        let probe = Probe::attach(hands.pid(), &[])?;
        hands.sql("a", "a", "BEGIN IMMEDIATE")?;
        hands.sql("a", "a", "UPDATE t SET x = 'secret'")?;
        hands.tell_sql("b", "b", "INSERT INTO t VALUES (5)")?;
        until_asleep(waiter)?;
        hands.tell_sql("a", "a", "COMMIT")?;
        for _ in 0..2 {
            ensure!(hands.done()?.error.is_none());
        }
        let report = probe.finish()?.report;
        let got = database(&report, &path)?;
        let worst = got.worst()?;
        ensure!((worst.tid, worst.statement.as_deref()) == (holder, Some("UPDATE t SET x = ?")), "{worst:?}");
        let insert = statement(&got, "INSERT INTO t VALUES (?)")?;
        ensure!((insert.lock_waits, got.lock_waits) == (1, 1), "{got:?}");
        ensure!((insert.lock_wait_s / got.wait_s.total() - 1.0).abs() < 0.01, "{got:?}");
        ensure!(!report.0.to_string().contains("secret"));
    }
    Ok(())
}

/// Statements can be left out; waits are seen all the same.
fn waits_without_statements() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    let mut other = Hands::start()?;
    other.open("h", "h", &path, 20.0)?;
    hands.open("b", "b", &path, 0.2)?;
    let probe = Probe::attach(hands.pid(), &["--skip", "sqlite-statements"])?;
    other.sql("h", "h", "BEGIN IMMEDIATE")?;
    hands.tell_sql("b", "b", "BEGIN IMMEDIATE")?;
    ensure!(hands.done()?.error.is_some());
    let got = database(&probe.finish()?.report, &path)?;
    ensure!((got.lock_waits, got.gave_up, got.statements.len()) == (1, 1, 0), "{got:?}");
    Ok(())
}
