//! Checkpoints of the WAL, as SQLite itself tells of them.

use anyhow::{Context as _, Result, bail, ensure};
use probe_tests::probe::Probe;
use serde_json::json;

use super::{database, holders::target};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, a_checkpoint_that_was_asked_for, a_checkpoint_of_a_commit);
}

const INSERT: &str = "INSERT INTO t VALUES (zeroblob(400000))";

/// SQLite says itself how many pages it brought back.
fn a_checkpoint_that_was_asked_for() -> Result<()> {
    checkpoint(false)
}

/// Whoever crosses the limit pays.
fn a_checkpoint_of_a_commit() -> Result<()> {
    checkpoint(true)
}

fn checkpoint(is_automatic: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, tid) = target(&path, "wal")?;
    // Nothing is left of what made the table; each commit is synced.
    hands.sql("a", "a", "PRAGMA wal_checkpoint(TRUNCATE)")?;
    hands.sql("a", "a", "PRAGMA synchronous=FULL")?;
    let limit = if is_automatic { 50 } else { 0 };
    hands.sql("a", "a", &format!("PRAGMA wal_autocheckpoint={limit}"))?;
    let probe = Probe::attach(hands.pid(), &[])?;
    let inserted = hands.sql("a", "a", INSERT)?;
    let ask = json!({"connection": "a", "sql": "PRAGMA wal_checkpoint", "row": true});
    let done = hands.ask("a", "sql", &ask)?;
    let got = database(&probe.finish()?.report, &path)?;
    let seen = &got.wal_checkpoints;
    // Whether it was refused, pages in the log, pages brought back, since the log began.
    let Some(&[0, log, back]) = done.row.as_deref() else { bail!("{done:?}") };
    ensure!(log == back && back > 90, "{done:?}");
    let back = u64::try_from(back)?;
    ensure!((seen.pages, seen.bytes) == (back, back * 4096), "{done:?}, {seen:?}");
    // The one that was asked for when all was done takes the lock, and writes nothing.
    ensure!(seen.count == if is_automatic { 2 } else { 1 }, "{done:?}, {seen:?}");
    ensure!(seen.fsyncs == 2, "of the log, and of the database: {seen:?}");
    let paid_by = if is_automatic { "INSERT INTO t VALUES (zeroblob (?))" } else { "PRAGMA wal_checkpoint" };
    let first = seen.paid_by.first().context("nobody paid")?;
    ensure!((first.statement.as_deref(), first.tid) == (Some(paid_by), tid), "{seen:?}");
    let took_s = if is_automatic { inserted.took_s } else { done.took_s };
    let longest = seen.duration_s.largest()?;
    ensure!(longest > 0.0 && longest < took_s && first.total_s <= took_s, "{seen:?}, {took_s} s");
    Ok(())
}
