//! Whoever holds the lock is named, in the target or not.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use probe_tests::{
    host,
    locks::{Hands, Program},
    probe::Probe,
    wait,
};
use serde_json::json;
use tempfile::TempDir;

use super::{Pair, database};
use crate::{Suite, add, watch::CLOCK_NANOSLEEP};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        shell_is_named,
        a_killed_holder,
        a_lock_before_the_attach,
        a_fork_while_holding,
        readers_of_a_commit
    );
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

/// A target and a shell on one database.
struct Beside {
    folder: TempDir,
    path: PathBuf,
    hands: Hands,
    /// The target's thread `a`.
    tid: u32,
    shell: Program,
}

impl Beside {
    fn new(mode: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("app.db");
        let (hands, tid) = target(&path, mode)?;
        let shell = shell(&path)?;
        Ok(Self { folder, path, hands, tid, shell })
    }
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
        let Beside { folder: _folder, path, mut hands, tid, mut shell } = Beside::new(mode)?;
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

/// A lock that was taken before there was a probe.
fn a_lock_before_the_attach() -> Result<()> {
    for mode in ["wal", "delete"] {
        let Beside { folder: _folder, path, mut hands, tid, mut shell } = Beside::new(mode)?;
        run(&mut shell, "BEGIN IMMEDIATE")?;
        let probe = Probe::attach(hands.pid(), &[])?;
        hands.tell_sql("a", "a", "BEGIN IMMEDIATE")?;
        until_asleep(tid)?;
        // sleep: for as long the lock is held
        thread::sleep(HELD);
        run(&mut shell, "COMMIT")?;
        let done = hands.done()?;
        hands.sql("a", "a", "COMMIT")?;
        let got = database(&probe.finish()?.report, &path)?;
        ensure!(got.lock_waits == 1 && (got.wait_s.total() / done.took_s - 1.0).abs() < 0.03, "{got:?}");
        let holder = got.worst()?;
        ensure!((holder.pid, holder.in_target) == (shell.pid(), false), "{holder:?}");
        ensure!(holder.comm.as_deref() == Some("sqlite3"), "{holder:?}");
        ensure!(holder.blocked_s >= HELD.as_secs_f64(), "{holder:?}");
        // Nobody knows since when it was held.
        ensure!((holder.holds, holder.hold_s.count) == (1, 0), "{holder:?}");
    }
    Ok(())
}

/// A child that inherits everything but the locks has none of them.
fn a_fork_while_holding() -> Result<()> {
    for mode in ["wal", "delete"] {
        let Pair { folder: _folder, path, mut hands, holder, waiter } = Pair::new(mode)?;
        let probe = Probe::attach(hands.pid(), &[])?;
        hands.sql("a", "a", "BEGIN IMMEDIATE")?;
        hands.ask("c", "fork", &json!({}))?;
        hands.tell_sql("b", "b", "BEGIN IMMEDIATE")?;
        until_asleep(waiter)?;
        hands.tell_sql("a", "a", "COMMIT")?;
        for _ in 0..2 {
            ensure!(hands.done()?.error.is_none());
        }
        hands.sql("b", "b", "COMMIT")?;
        let got = database(&probe.finish()?.report, &path)?;
        ensure!((got.transactions, got.lock_waits, got.gave_up) == (2, 1, 0), "{got:?}");
        let worst = got.worst()?;
        ensure!((worst.pid, worst.tid, worst.in_target) == (hands.pid(), holder, true), "{worst:?}");
    }
    Ok(())
}

/// In a rollback mode who commits waits for the readers, in its own process and in others.
fn readers_of_a_commit() -> Result<()> {
    for is_inside in [true, false] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("app.db");
        let (mut hands, tid) = target(&path, "delete")?;
        let mut shell = shell(&path)?;
        hands.open("r", "r", &path, 20.0)?;
        let probe = Probe::attach(hands.pid(), &[])?;
        hands.sql("a", "a", "SELECT * FROM t")?;
        let reader = if is_inside {
            hands.sql("r", "r", "BEGIN")?;
            (hands.pid(), hands.sql("r", "r", "SELECT * FROM t")?.tid)
        } else {
            run(&mut shell, "BEGIN; SELECT * FROM t")?;
            (shell.pid(), shell.pid())
        };
        hands.sql("a", "a", "BEGIN IMMEDIATE")?;
        hands.sql("a", "a", "INSERT INTO t VALUES (1)")?;
        hands.tell_sql("a", "a", "COMMIT")?;
        until_asleep(tid)?;
        if is_inside {
            hands.tell_sql("r", "r", "COMMIT")?;
            hands.done()?;
        } else {
            run(&mut shell, "COMMIT")?;
        }
        hands.done()?;
        let got = database(&probe.finish()?.report, &path)?;
        ensure!((got.transactions, got.lock_waits, got.gave_up) == (1, 1, 0), "{got:?}");
        ensure!(got.by_lock.len() == 1 && got.by_lock[0].lock == "EXCLUSIVE", "{:?}", got.by_lock);
        let worst = got.worst()?;
        ensure!((worst.pid, worst.tid, worst.lock.as_str()) == (reader.0, reader.1, "SHARED"), "{worst:?}");
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
