//! Requests that the target makes itself: counted exactly, timed as its own sockets and the wire time them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    capture::Capture,
    probe::Probe,
    server::Uvicorn,
    servers,
    stats::{self, CLIENT, WIRE, percentile},
    wait,
};
use serde::Deserialize;

use crate::{Suite, add, watch::agrees};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, calls);
}

/// A line of the caller's log.
#[derive(Debug, Deserialize)]
struct Call {
    name: String,
    status: u16,
    s: f64,
    sent: u64,
    received: u64,
}

/// Counts and bytes by host and template are the caller's own, times are its own and the wire's; an impatient call is
/// aborted, an open one in flight; no query is kept and what is no HTTP is left alone.
fn calls() -> Result<()> {
    const ROUNDS: usize = 60;
    let upstream = Uvicorn::new("uvloop", "httptools").start()?;
    let port = upstream.addr().port();
    let capture = Capture::start(port)?;
    let mut caller = servers::caller(port, ROUNDS)?;
    let probe = Probe::attach(caller.pid(), &[])?;
    caller.release()?;
    wait::until("the caller's last call", wait::SOON, || {
        Ok(caller.log()?.lines().any(|line| line == "done").then_some(()))
    })?;
    caller.settle()?;
    let outcome = probe.finish()?;
    let wire = capture.finish()?;
    let report = outcome.report;
    report.nothing_lost()?;
    let log = caller.log()?;
    let mut by_name: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let call: Call = serde_json::from_str(line).with_context(|| format!("failed to read `{line}`"))?;
        by_name.entry(call.name.clone()).or_default().push(call);
    }
    ensure!(by_name.len() == 7, "{} kinds of calls", by_name.len());
    for (name, calls) in &by_name {
        let (method, path) = name.split_once(' ').context("no method")?;
        let found = report.outgoing(&format!("{method} pipeline.test:{port} {path}"))?;
        let errors = calls.iter().filter(|call| call.status >= 500).count() as u64;
        let sent: u64 = calls.iter().map(|call| call.sent).sum();
        let received: u64 = calls.iter().map(|call| call.received).sum();
        ensure!(
            (found.requests, found.errors, found.aborted) == (calls.len() as u64, errors, 0),
            "{name}: {found:?}"
        );
        ensure!(
            (found.bytes_out, found.bytes_in) == (sent, received),
            "{name}: {found:?}, {sent}, {received}"
        );
        let timed = stats::sorted(calls.iter().filter(|call| call.status < 500).map(|call| call.s));
        ensure!(found.latency_s.count == timed.len() as u64, "{name}: {found:?}");
        agrees(&format!("{name} p50, its sockets"), WIRE, percentile(&timed, 0.5), found.latency_s.p50)?;
        agrees(&format!("{name} p95, its sockets"), CLIENT, percentile(&timed, 0.95), found.latency_s.p95)?;
    }
    let on_wire = wire.latencies("GET /items/");
    let items = report.outgoing(&format!("GET pipeline.test:{port} /items/{{id}}"))?;
    agrees("GET /items/{id} p50, the wire", WIRE, percentile(&on_wire, 0.5), items.latency_s.p50)?;
    let sleep = report.outgoing(&format!("GET 127.0.0.1:{port} /sleep"))?;
    ensure!((sleep.requests, sleep.aborted, sleep.in_flight) == (0, 1, 1), "{sleep:?}");
    let all: Vec<serde_json::Value> = report.at("/outgoing")?;
    ensure!(all.len() == 8, "{all:?}");
    ensure!(report.endpoints()?.is_empty(), "the caller served nothing");
    ensure!(!report.0.to_string().contains("secret"), "a query was kept");
    ensure!(outcome.stdout.contains("OUTGOING CALLS"), "{}", outcome.stdout);
    Ok(())
}
