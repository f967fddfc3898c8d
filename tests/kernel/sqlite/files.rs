//! Databases that are many, among many descriptors, moved, deleted or replaced.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use probe_tests::{locks::Database, probe::Probe};
use serde_json::json;

use super::{
    database, databases,
    holders::{target, until_asleep},
};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, many_databases, a_moved_database, a_replaced_database);
}

/// Each has its own numbers, behind thousands of descriptors.
fn many_databases() -> Result<()> {
    const DATABASES: usize = 12;
    // In WAL mode: else who tries to begin can make who holds the lock wait at its COMMIT, for a moment.
    const CONTENDED: usize = 8;
    let folder = tempfile::tempdir()?;
    let path = |number: usize| folder.path().join(format!("app{number}.db"));
    let (mut hands, tid) = target(&path(0), "wal")?;
    hands.ask("a", "descriptors", &json!({"times": 5000}))?;
    let probe = Probe::attach(hands.pid(), &[])?;
    for number in 1..DATABASES {
        let name = number.to_string();
        hands.open("a", &name, &path(number), 20.0)?;
        let mode = if number % 2 == 0 { "wal" } else { "delete" };
        hands.sql("a", &name, &format!("PRAGMA journal_mode={mode}"))?;
        hands.sql("a", &name, "CREATE TABLE t (x)")?;
        for _ in 0..number {
            hands.sql("a", &name, "INSERT INTO t VALUES (1)")?;
        }
    }
    hands.open("b", "other", &path(CONTENDED), 20.0)?;
    hands.sql("b", "other", "BEGIN IMMEDIATE")?;
    hands.tell_sql("a", &CONTENDED.to_string(), "BEGIN IMMEDIATE")?;
    until_asleep(tid)?;
    hands.tell_sql("b", "other", "COMMIT")?;
    for _ in 0..2 {
        ensure!(hands.done()?.error.is_none());
    }
    hands.sql("a", &CONTENDED.to_string(), "COMMIT")?;
    let report = probe.finish()?.report;
    for number in 1..DATABASES {
        let got = database(&report, &path(number))?;
        let contended = u64::from(number == CONTENDED);
        ensure!((got.lock_waits, got.gave_up) == (contended, 0), "{got:?}");
        // The table is made by a transaction, and so is the mode that is not the usual one.
        let transactions = 1 + number as u64 + 2 * contended + u64::from(number % 2 == 0);
        ensure!(got.transactions == transactions, "{number}: {transactions} transactions, {got:?}");
    }
    Ok(())
}

/// A database is its file, whatever the file is called later.
fn a_moved_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "delete")?;
    let probe = Probe::attach(hands.pid(), &[])?;
    hands.sql("a", "a", "INSERT INTO t VALUES (1)")?;
    let moved = folder.path().join("moved.db");
    fs::rename(&path, &moved)?;
    // SQLite itself finds out that its file has gone only where it looks for it; reading does not.
    hands.sql("a", "a", "SELECT * FROM t")?;
    hands.open("b", "b", &moved, 20.0)?;
    hands.sql("b", "b", "INSERT INTO t VALUES (1)")?;
    let report = probe.finish()?.report;
    let got = database(&report, &path)?;
    ensure!(got.transactions == 2 && databases(&report)?.len() == 1, "{:?}", databases(&report)?);
    Ok(())
}

/// A database is deleted under its connection, and another one made in its place: two databases of one name.
fn a_replaced_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, _) = target(&path, "wal")?;
    let probe = Probe::attach(hands.pid(), &[])?;
    hands.sql("a", "a", "INSERT INTO t VALUES (1)")?;
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", path.display()))?;
    }
    hands.sql("a", "a", "INSERT INTO t VALUES (1)")?;
    hands.open("b", "b", &path, 20.0)?;
    hands.sql("b", "b", "CREATE TABLE t (x)")?;
    hands.sql("b", "b", "INSERT INTO t VALUES (1)")?;
    hands.sql("b", "b", "INSERT INTO t VALUES (1)")?;
    let report = probe.finish()?.report;
    let mut found = databases(&report)?;
    found.retain(|found: &Database| Path::new(&found.database) == path);
    let told: Vec<_> = found.iter().map(|found| (found.replaced, found.transactions)).collect();
    ensure!(told == [(true, 2), (false, 3)], "{found:?}");
    Ok(())
}
