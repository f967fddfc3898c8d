//! Whoever holds the lock is named, in the target or not.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    host,
    locks::{Hands, Program},
    probe::Probe,
    wait,
};

use super::database;
use crate::{Suite, add, watch::CLOCK_NANOSLEEP};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, shell_is_named, a_killed_holder);
}

/// How long a lock is held.
const HELD: Duration = Duration::from_millis(500);

/// Waits until a thread sits in SQLite's sleep.
pub(super) fn until_asleep(tid: u32) -> Result<()> {
    wait::until("a thread that waits for a lock", wait::SOON, || {
        Ok((host::sleeping_in(tid) == Some(CLOCK_NANOSLEEP)).then_some(()))
    })
}

/// A database with a table, open in the target's thread `a` on connection `a`; its thread's id.
pub(super) fn target(path: &Path, mode: &str) -> Result<(Hands, u32)> {
    let mut hands = Hands::start()?;
    hands.open("a", "a", path, 20.0)?;
    hands.sql("a", "a", &format!("PRAGMA journal_mode={mode}"))?;
    let done = hands.sql("a", "a", "CREATE TABLE t (x)")?;
    Ok((hands, done.tid))
}

/// The `sqlite3` shell on a database.
fn shell(path: &Path) -> Result<Program> {
    Program::start(Command::new("sqlite3").arg("-batch").arg(path))
}

/// The shell does what it is told, and says so.
fn run(shell: &mut Program, sql: &str) -> Result<()> {
    shell.say(&format!("{sql}; SELECT 'done';"))?;
    ensure!(shell.hear()? == "done");
    Ok(())
}

/// A shell beside the target holds a write transaction: the wait is that long plus what was overslept, and it is named.
fn shell_is_named() -> Result<()> {
    for mode in ["wal", "delete"] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("app.db");
        let (mut hands, tid) = target(&path, mode)?;
        let mut shell = shell(&path)?;
        let probe = Probe::attach(hands.pid(), &[])?;
        // The target's first lock says which files matter.
        hands.sql("a", "a", "SELECT * FROM t")?;
        run(&mut shell, "BEGIN IMMEDIATE")?;
        hands.tell_sql("a", "a", "BEGIN IMMEDIATE")?;
        until_asleep(tid)?;
        // sleep: for as long the lock is held
        thread::sleep(HELD);
        run(&mut shell, "COMMIT")?;
        let done = hands.done()?;
        hands.sql("a", "a", "COMMIT")?;
        let got = database(&probe.finish()?.report, &path)?;
        let waited = got.wait_s.total();
        ensure!(got.lock_waits == 1 && (waited / done.took_s - 1.0).abs() < 0.03, "{done:?}, {got:?}");
        let holder = got.worst()?;
        ensure!(
            (holder.pid, holder.in_target) == (shell.pid(), false),
            "{} held it: {holder:?}",
            shell.pid()
        );
        ensure!(holder.comm.as_deref() == Some("sqlite3"), "{holder:?}");
        ensure!((waited - holder.blocked_s - got.overshoot_s.total()).abs() < 0.002, "{got:?}");
        ensure!(holder.blocked_s >= HELD.as_secs_f64() && holder.blocked_s < waited, "{got:?}");
        // The last sleep is 100 ms at most.
        ensure!(got.overshoot_s.total() < 0.11, "{got:?}");
        let held = holder.hold_s.total();
        ensure!(held > holder.blocked_s && held < holder.blocked_s + 0.2, "{holder:?}");
        ensure!(got.contention_ratio == Some(1.0), "{got:?}");
    }
    Ok(())
}

/// A holder that is killed lets go; the wait ends and the killed one is named.
fn a_killed_holder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut hands, tid) = target(&path, "wal")?;
    let mut other = Hands::start()?;
    other.open("b", "b", &path, 20.0)?;
    let probe = Probe::attach(hands.pid(), &[])?;
    hands.sql("a", "a", "SELECT * FROM t")?;
    let holder = other.sql("b", "b", "BEGIN IMMEDIATE")?;
    hands.tell_sql("a", "a", "BEGIN IMMEDIATE")?;
    until_asleep(tid)?;
    other.kill()?;
    ensure!(hands.done()?.error.is_none());
    hands.sql("a", "a", "COMMIT")?;
    let got = database(&probe.finish()?.report, &path)?;
    let worst = got.worst()?;
    ensure!((worst.pid, worst.tid) == (other.pid(), holder.tid), "{holder:?}, {got:?}");
    ensure!((worst.holds, worst.hold_s.count) == (1, 1), "the hold ended with its process: {worst:?}");
    ensure!((got.transactions, got.lock_waits, got.gave_up) == (1, 1, 0), "{got:?}");
    Ok(())
}
