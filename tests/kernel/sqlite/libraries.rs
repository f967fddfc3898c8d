//! SQLite inside other files: wheels that bring their own, with symbols for everybody or for debuggers only.

use anyhow::{Result, ensure};
use probe_tests::{locks::Hands, probe::Probe};
use serde_json::json;

use super::{
    database,
    holders::{target, until_asleep},
    statements::statement,
};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, inside_pysqlite3, inside_apsw, apsw_beside_another_process);
}

fn inside_pysqlite3() -> Result<()> {
    inside("pysqlite3")
}

fn inside_apsw() -> Result<()> {
    inside("apsw")
}

/// Statements by their count, the one wait by the application's clock, and an old snapshot by its own code.
fn inside(module: &str) -> Result<()> {
    const SNAPSHOT: i32 = 517;
    const INSERTS: u64 = 7;
    const HELD_MS: u64 = 200;
    // In memory: a disk that makes a statement wait is no part of this.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let path = folder.path().join("app.db");
    let mut hands = Hands::start_with(module)?;
    for name in ["a", "b"] {
        hands.open(name, name, &path, 20.0)?;
    }
    hands.sql("a", "a", "PRAGMA journal_mode=wal")?;
    hands.sql("a", "a", "CREATE TABLE t (x)")?;
    let waiter = hands.sql("b", "b", "SELECT * FROM t")?.tid;
    let probe = Probe::attach(hands.pid(), &[])?;
    for number in 0..INSERTS {
        hands.sql("a", "a", &format!("INSERT INTO t VALUES ({number})"))?;
    }
    hands.sql("a", "a", "BEGIN IMMEDIATE")?;
    hands.sql("a", "a", "UPDATE t SET x = 2")?;
    hands.tell_sql("b", "b", "DELETE FROM t WHERE x = 3")?;
    until_asleep(waiter)?;
    // As long as the lock is held.
    hands.ask("c", "sleep", &json!({"ms": HELD_MS}))?;
    hands.tell_sql("a", "a", "COMMIT")?;
    let done = [hands.done()?, hands.done()?];
    ensure!(done.iter().all(|done| done.error.is_none()), "{done:?}");
    // Somebody has written since b began to read.
    hands.sql("b", "b", "BEGIN")?;
    hands.sql("b", "b", "SELECT count(*) FROM t")?;
    hands.sql("a", "a", "INSERT INTO t VALUES (9)")?;
    hands.tell_sql("b", "b", "UPDATE t SET x = 5 WHERE x = 6")?;
    let failed = hands.done()?;
    // Of these only apsw asks SQLite for its extended codes.
    ensure!(failed.error.is_some() && (module != "apsw" || failed.code == Some(SNAPSHOT)), "{failed:?}");
    hands.sql("b", "b", "ROLLBACK")?;
    let got = database(&probe.finish()?.report, &path)?;
    let inserted = statement(&got, "INSERT INTO t VALUES (?)")?;
    ensure!((inserted.calls, inserted.errors) == (INSERTS + 1, 0), "{inserted:?}");
    ensure!((got.lock_waits, got.gave_up) == (1, 0), "{got:?}");
    // Those inserts, the two that met, and the one that found its snapshot old and gave the lock back.
    ensure!(
        got.transactions == INSERTS + 4 && got.contention_ratio == Some(1.0 / (INSERTS + 4) as f64),
        "{got:?}"
    );
    let waited = done.iter().find(|done| done.thread == "b").map_or(0.0, |done| done.took_s);
    ensure!((got.wait_s.total() / waited - 1.0).abs() < 0.05, "{waited} s by its own clock, {got:?}");
    ensure!(statement(&got, "DELETE FROM t WHERE x = ?")?.lock_waits == 1, "{got:?}");
    ensure!(got.worst()?.statement.as_deref() == Some("UPDATE t SET x = ?"), "{got:?}");
    let old = statement(&got, "UPDATE t SET x = ? WHERE x = ?")?;
    ensure!((old.errors, old.busy_at_once, old.busy_snapshot) == (1, 1, 1), "{old:?}");
    Ok(())
}

/// apsw's SQLite is built to ask every millisecond for a lock that another process has: one wait.
fn apsw_beside_another_process() -> Result<()> {
    const HELD_MS: u64 = 200;
    // In memory: a disk that makes a statement wait is no part of this.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let path = folder.path().join("app.db");
    let (mut other, _) = target(&path, "wal")?;
    let mut hands = Hands::start_with("apsw")?;
    hands.open("b", "b", &path, 20.0)?;
    let waiter = hands.sql("b", "b", "SELECT * FROM t")?.tid;
    let probe = Probe::attach(hands.pid(), &[])?;
    hands.sql("b", "b", "INSERT INTO t VALUES (1)")?;
    other.sql("a", "a", "BEGIN IMMEDIATE")?;
    hands.tell_sql("b", "b", "INSERT INTO t VALUES (2)")?;
    until_asleep(waiter)?;
    other.ask("a", "sleep", &json!({"ms": HELD_MS}))?;
    other.sql("a", "a", "COMMIT")?;
    let done = hands.done()?;
    ensure!(done.error.is_none(), "{done:?}");
    let got = database(&probe.finish()?.report, &path)?;
    ensure!((got.lock_waits, got.gave_up, got.transactions) == (1, 0, 2), "{got:?}");
    // Its statement also syncs the WAL.
    ensure!(
        got.wait_s.total() < done.took_s && got.wait_s.total() > HELD_MS as f64 / 1000.0,
        "{done:?}, {got:?}"
    );
    ensure!(got.worst()?.pid == other.pid(), "{got:?}");
    Ok(())
}
