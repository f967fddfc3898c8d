//! Many threads on one database: as many waits as SQLite itself counted, as long as the application's clock said.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    host,
    locks::{Contended, contend},
    probe::Probe,
    say::say,
};

use super::database;
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, threads_of_one_process, processes_of_one_thread, processes_with_threads);
}

/// Long enough for more than a hundred transactions.
const LENGTH: Duration = Duration::from_millis(1500);
/// Of the sum of all waits: what is not asleep in them is the attempts themselves.
const TOLERANCE: f64 = 0.03;

/// A conflict within a process makes no call on the database at all.
fn threads_of_one_process() -> Result<()> {
    both_modes(1, 4, &["process"])
}

fn processes_of_one_thread() -> Result<()> {
    both_modes(4, 1, &["system"])
}

fn processes_with_threads() -> Result<()> {
    both_modes(2, 2, &["process", "system"])
}

fn both_modes(processes: u32, threads: u32, scopes: &[&str]) -> Result<()> {
    for mode in ["wal", "delete"] {
        // In memory: a disk that makes a statement wait is no part of this.
        let folder = tempfile::tempdir_in("/dev/shm")?;
        let path = folder.path().join("app.db");
        let binary = env!("CARGO_BIN_EXE_sqlite-contend");
        let mut program = contend(binary, &path, mode, (processes, threads), LENGTH)?;
        let probe = Probe::attach(program.pid(), &[])?;
        program.say("go")?;
        let log: Contended = program.answer()?;
        let got = database(&probe.finish()?.report, &path)?;
        let total = got.wait_s.total();
        say(&format!(
            "    {mode} {processes} x {threads}: {} waits, {} attempts, {} transactions, {:.3} s; probe {}, {}, {}, {total:.3} s",
            log.waits,
            log.attempts,
            log.transactions,
            log.waited_s,
            got.lock_waits,
            got.attempts,
            got.transactions
        ));
        ensure!(log.waits > 20, "nothing was contended for: {log:?}");
        let counts = (log.transactions, log.waits, log.attempts);
        ensure!((got.transactions, got.lock_waits, got.attempts) == counts, "{log:?}, {got:?}");
        let off = total / log.waited_s - 1.0;
        ensure!(
            off.abs() < TOLERANCE || host::is_emulated(),
            "{mode}: the sum of all waits is off by {:.2} %",
            off * 100.0
        );
        ensure!(got.gave_up == 0 && got.unfinished_s.count == 0, "{got:?}");
        ensure!(got.journal_mode == if mode == "wal" { "wal" } else { "rollback" });
        let lock = if mode == "wal" { "WAL_WRITE" } else { "RESERVED" };
        for scope in scopes {
            let waits = |lock: &&probe_tests::locks::LockWaits| lock.scope == *scope;
            let of_scope: u64 = got.by_lock.iter().filter(waits).map(|lock| lock.waits).sum();
            let of_writer = got.by_lock.iter().filter(waits).filter(|found| found.lock == lock);
            let of_writer: u64 = of_writer.map(|lock| lock.waits).sum();
            ensure!(of_writer > 0 && of_writer * 2 > of_scope, "{scope}: {:?}", got.by_lock);
        }
        ensure!(got.by_lock.iter().all(|lock| scopes.contains(&lock.scope.as_str())), "{:?}", got.by_lock);
        // All of a wait is behind somebody, or asleep although nobody was in the way.
        let blocked: f64 =
            got.holders.iter().filter(|found| found.lock == lock).map(|found| found.blocked_s).sum();
        ensure!(blocked + got.overshoot_s.total() > total * 0.9, "{blocked} s of {total} s, {got:?}");
        ensure!(blocked <= total * 1.001, "{blocked} s of {total} s");
        let tids: BTreeSet<u32> = got.holders.iter().map(|found| found.tid).collect();
        ensure!(tids.len() >= (processes * threads) as usize, "{tids:?} held it");
    }
    Ok(())
}
