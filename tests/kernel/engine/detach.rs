//! However a run ends, nothing of it stays in the kernel and the target goes on.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    server::{Server, Uvicorn},
    wait,
};

use crate::{
    Suite, add, add_timed,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        after_an_interrupt,
        after_two_interrupts,
        after_a_kill,
        after_its_duration,
        target_that_exits,
    );
    add_timed!(suite, interrupt_under_load);
}

/// What stays while the probe runs and must be gone after it.
struct Kept {
    server: Server,
    conn: Conn,
    programs: BTreeSet<u32>,
}

/// A server with a connection and a probe on it, whose programs are in the kernel's list.
fn kept(more: &[&str]) -> Result<(Kept, Probe)> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let probe = Probe::attach(server.pid(), more)?;
    let mut conn = Conn::open(server.addr())?;
    conn.exchange(&Request::get("/hello"))?;
    let programs = probe.programs()?;
    ensure!(programs.is_subset(&loaded()?), "programs that the kernel does not list");
    Ok((Kept { server, conn, programs }, probe))
}

fn loaded() -> Result<BTreeSet<u32>> {
    aya::programs::loaded_programs()
        .map(|program| program.map(|program| program.id()))
        .collect::<Result<_, _>>()
        .context("failed to list the kernel's programs")
}

impl Kept {
    /// The kernel frees programs a moment after their last reference.
    fn nothing_is_left(mut self) -> Result<()> {
        wait::until("the end of every kernel program", wait::SOON, || {
            Ok(loaded()?.is_disjoint(&self.programs).then_some(()))
        })?;
        let entry = self.conn.exchange(&Request::get("/hello"))?;
        ensure!(entry.status == 200, "the target answers {} on its old connection", entry.status);
        let log = Load::fast(self.server.addr(), 4, 100, mix()).fresh().run()?;
        ensure!(log.entries.iter().all(|entry| entry.status == 200));
        Ok(())
    }
}

/// One SIGINT: a report, exit code 0, nothing left.
fn after_an_interrupt() -> Result<()> {
    let (kept, probe) = kept(&[])?;
    let outcome = finish(probe, &kept.server)?;
    ensure!(
        outcome.stdout.contains("/hello"),
        "the report on stdout lacks its endpoint:\n{}",
        outcome.stdout
    );
    kept.nothing_is_left()
}

/// Two in a row: it ends, whether with the report or without, by its own will, and nothing is left.
fn after_two_interrupts() -> Result<()> {
    let (kept, mut probe) = kept(&[])?;
    probe.signal(Signal::SIGINT)?;
    // It may have ended before the second one.
    let _ended = probe.signal(Signal::SIGINT);
    let status = probe.wait_for_end(wait::SOON)?;
    ensure!(matches!(status.code(), Some(0 | 130)), "probe ended with {status}");
    ensure!(!probe.stderr()?.contains("panicked"), "probe said:\n{}", probe.stderr()?);
    kept.nothing_is_left()
}

/// SIGKILL: nothing can be cleaned up by probe, so the kernel does it.
fn after_a_kill() -> Result<()> {
    let (kept, mut probe) = kept(&[])?;
    probe.signal(Signal::SIGKILL)?;
    probe.wait_for_end(wait::SOON)?;
    kept.nothing_is_left()
}

/// `--duration`: it ends by itself, with the report of what was seen.
fn after_its_duration() -> Result<()> {
    let (kept, probe) = kept(&["--duration", "2s"])?;
    let outcome = probe.outcome(wait::SOON)?;
    ensure!(outcome.status.code() == Some(0), "{}: {}", outcome.status, outcome.stderr);
    ensure!(outcome.report.endpoint("GET /hello")?.requests == 1);
    kept.nothing_is_left()
}

/// A target that ends during the run, by a kill and by its own shutdown, ends the run with what was seen
/// and never with "could not do its work".
fn target_that_exits() -> Result<()> {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut server = Uvicorn::new("uvloop", "httptools").start()?;
        let probe = Probe::attach(server.pid(), &[])?;
        let log = Load::fast(server.addr(), 4, 200, mix()).run()?;
        server.settle()?;
        server.signal(signal)?;
        server.wait_for_end()?;
        let outcome = probe.outcome(Duration::from_secs(10))?;
        let code = outcome.status.code().context("probe was killed")?;
        ensure!(code == 0, "exit code {code} after {signal}; it said:\n{}", outcome.stderr);
        outcome.report.matches_exactly(&log.sums())?;
    }
    Ok(())
}

/// Interrupted in the middle of a load at full speed it still ends in order: what was answered so far is
/// counted, at most one request of each connection is in flight, and the load goes on undisturbed.
fn interrupt_under_load() -> Result<()> {
    let (kept, probe) = kept(&[])?;
    let load = Load::fast(kept.server.addr(), 16, 20_000, mix());
    let answered = load.answered.clone();
    let client = std::thread::spawn(move || load.run());
    wait::until("a running load", wait::SOON, || Ok((answered.get() > 5_000).then_some(())))?;
    let least = answered.get();
    let report = probe.finish()?.report;
    let most = answered.get() + 16;
    client.join().ok().context("the client panicked")??;
    report.nothing_lost()?;
    let endpoints = report.endpoints()?;
    let requests: u64 = endpoints.iter().map(|found| found.requests).sum();
    let in_flight: u64 = endpoints.iter().map(|found| found.in_flight).sum();
    // One more than the load's: the request of `kept`.
    ensure!((least..=most + 1).contains(&requests), "{requests} requests, between {least} and {most}");
    ensure!(in_flight <= 16, "{in_flight} in flight on 16 connections");
    ensure!(endpoints.iter().all(|found| found.aborted == 0), "{endpoints:?}");
    kept.nothing_is_left()
}
