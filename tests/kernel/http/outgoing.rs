//! Requests that the target makes itself: counted exactly, timed as its own sockets and the wire time them.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    capture::Capture,
    probe::{Outcome, Probe},
    server::{Uvicorn, certificate},
    servers,
    stats::{self, CLIENT, WIRE, percentile},
};
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use crate::{Suite, add, watch::agrees};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, calls, calls_inside_tls, unheard, unheard_off);
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
    let upstream = Uvicorn::new("uvloop", "httptools").start()?;
    let port = upstream.addr().port();
    let capture = Capture::start(port)?;
    let outcome = exact(port, false)?;
    let wire = capture.finish()?;
    let report = outcome.report;
    let on_wire = wire.latencies("GET /items/");
    let items = report.outgoing(&format!("GET pipeline.test:{port} /items/{{id}}"))?;
    agrees("GET /items/{id} p50, the wire", WIRE, percentile(&on_wire, 0.5), items.latency_s.p50)?;
    let sleep = report.outgoing(&format!("GET 127.0.0.1:{port} /sleep"))?;
    ensure!((sleep.requests, sleep.aborted, sleep.in_flight) == (0, 1, 1), "{sleep:?}");
    let all: Vec<serde_json::Value> = report.at("/outgoing")?;
    ensure!(all.len() == 8, "{all:?}");
    let judged: Vec<serde_json::Value> = report.at("/objectives")?;
    let of = |id: &str| judged.iter().find(|judged| judged["id"] == id).with_context(|| format!("no `{id}`"));
    let (p95, errors) = (of("p95")?, of("errors")?);
    let near = |got: f64, expected: f64| (got - expected).abs() < 1e-9;
    let value = |judged: &serde_json::Value| judged["value"].as_f64().context("no value");
    ensure!(near(value(p95)?, items.latency_s.p95.context("no p95")?) && p95["verdict"] == "pass", "{p95}");
    // Of 8 kinds of calls one is always answered with 503.
    ensure!(near(value(errors)?, 0.125) && errors["verdict"] == "pass", "{errors}");
    ensure!(outcome.stdout.contains("OUTGOING CALLS"), "{}", outcome.stdout);
    Ok(())
}

/// The same inside TLS: nothing of it is missing, nothing counted twice.
fn calls_inside_tls() -> Result<()> {
    let folder = certificate()?;
    let upstream = Uvicorn::new("uvloop", "httptools").with_tls(folder.path()).start()?;
    let report = exact(upstream.addr().port(), true)?.report;
    let all: Vec<serde_json::Value> = report.at("/outgoing")?;
    ensure!(all.len() == 7, "{all:?}");
    let spots = report.blind_spots()?;
    ensure!(spots.iter().all(|spot| !spot.contains("encrypted")), "{spots:?}");
    Ok(())
}

/// Lets the caller call, and compares counts, bytes and times with its own log.
fn exact(port: u16, in_tls: bool) -> Result<Outcome> {
    // Enough for a p95.
    const ROUNDS: usize = 80;
    let mut caller = servers::caller(port, ROUNDS, in_tls)?;
    let profile = format!(
        "name = \"test\"\n\
         [[objective]]\nid = \"p95\"\noutgoing = \"GET pipeline.test:{port} /items/{{id}}\"\n\
         metric = \"latency.p95\"\ntarget = \"10s\"\nlimit = \"20s\"\n\
         [[objective]]\nid = \"errors\"\noutgoing = \"pipeline.test:{port}\"\n\
         metric = \"error_rate\"\ntarget = \"40%\"\nlimit = \"50%\"\n"
    );
    let probe = Probe::attach_with(caller.pid(), &profile, &[])?;
    caller.release()?;
    caller.wait_for_line("done")?;
    caller.settle()?;
    let outcome = probe.finish()?;
    let report = &outcome.report;
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
        // Inside TLS its clock runs while it encrypts.
        let tolerance = if in_tls { CLIENT } else { WIRE };
        agrees(&format!("{name} p50, its sockets"), tolerance, percentile(&timed, 0.5), found.latency_s.p50)?;
        agrees(&format!("{name} p95, its sockets"), CLIENT, percentile(&timed, 0.95), found.latency_s.p95)?;
    }
    ensure!(report.endpoints()?.is_empty(), "the caller served nothing");
    ensure!(!report.0.to_string().contains("secret"), "a query was kept");
    Ok(outcome)
}

/// Calls that get no connection: by address, by the name of a server that has left, and why; they count as errors of
/// their host.
fn unheard() -> Result<()> {
    let nobody = servers::nobody()?.port();
    let silent = Silent::new()?;
    let upstream = Uvicorn::new("asyncio", "h11").start()?;
    let going = upstream.addr().port();
    let mut caller = servers::unheard(nobody, silent.port, going)?;
    let profile = format!(
        "name = \"test\"\n[[objective]]\nid = \"errors\"\noutgoing = \"annotator.test:{going}\"\n\
         metric = \"error_rate\"\ntarget = \"90%\"\nlimit = \"95%\"\n"
    );
    let probe = Probe::attach_with(caller.pid(), &profile, &[])?;
    caller.release()?;
    caller.wait_for_line("answered")?;
    drop(upstream);
    caller.wait_for_line("done")?;
    caller.settle()?;
    let report = probe.finish()?.report;
    report.nothing_lost()?;
    let log = caller.log()?;
    let count = |lines: &[&str]| log.lines().filter(|line| lines.contains(line)).count() as u64;
    for (endpoint, tries) in [
        (format!("connect 127.0.0.1:{nobody} (refused)"), count(&["blocking refused", "asyncio refused"])),
        (format!("connect [::1]:{nobody} (refused)"), count(&["ipv6 refused"])),
        (format!("connect 127.0.0.1:{} (given up)", silent.port), count(&["silent given up"])),
        (format!("connect annotator.test:{going} (refused)"), 4),
    ] {
        let found = report.outgoing(&endpoint)?;
        ensure!(tries > 0 && (found.requests, found.aborted) == (0, tries), "{tries} tries: {found:?}");
    }
    let all: Vec<serde_json::Value> = report.at("/outgoing")?;
    ensure!(all.len() == 5, "{all:?}");
    let judged: Vec<serde_json::Value> = report.at("/objectives")?;
    // Four calls of five had no answer.
    ensure!(judged[0]["value"] == 0.8 && judged[0]["samples"] == 5, "{judged:?}");
    Ok(())
}

/// Connections off the machine that the kernel gives up itself: their reasons are those that it tells the caller.
fn unheard_off() -> Result<()> {
    const NOBODY: &str = "192.0.2.9";
    const MUTE: &str = "192.0.2.7";
    let mut caller = servers::unheard_off(NOBODY, MUTE)?;
    let probe = Probe::attach(caller.pid(), &[])?;
    caller.release()?;
    caller.wait_for_line("done")?;
    caller.settle()?;
    let report = probe.finish()?.report;
    report.nothing_lost()?;
    let log = caller.log()?;
    for (endpoint, error) in [
        (format!("connect {NOBODY}:80 (unreachable)"), "EHOSTUNREACH"),
        (format!("connect {MUTE}:80 (timed out)"), "ETIMEDOUT"),
    ] {
        let tries = log.lines().filter(|line| *line == error).count() as u64;
        let found = report.outgoing(&endpoint)?;
        ensure!(tries > 1 && (found.requests, found.aborted) == (0, tries), "{tries} tries: {found:?}");
    }
    let all: Vec<serde_json::Value> = report.at("/outgoing")?;
    ensure!(all.len() == 2, "{all:?}\n{log}");
    Ok(())
}

/// A listener that takes no more connections: handshakes with it get no answer.
struct Silent {
    port: u16,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Result<Self> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(0)?;
        let addr = listener.local_addr()?.as_socket().context("no address")?;
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            waiting.push(stream);
            ensure!(waiting.len() < 100, "the queue does not fill");
        }
        Ok(Self { port: addr.port(), _listener: listener, _waiting: waiting })
    }
}
