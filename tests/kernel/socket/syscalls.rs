//! How often the calls were made and what they moved.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    plain::Plain,
    probe::Probe,
    report::Syscall,
    server::Uvicorn,
    strace::{Calls, Strace},
};

use crate::{Suite, add, watch::mix};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, counts_are_the_servers_own, counts_are_straces, client_role_is_apart);
}

/// A server that counts its own calls, with each family of calls in turn: the same calls, the same bytes.
fn counts_are_the_servers_own() -> Result<()> {
    for calls in ["read", "recv", "readv", "recvmsg"] {
        let server = Plain::start(env!("CARGO_BIN_EXE_plain-server"), calls)?;
        let probe = Probe::attach(server.pid(), &[])?;
        let request = Request::get("/a/long/enough/path");
        let mut sums = Load::fast(server.addr(), 4, 400, vec![request.clone()]).run()?.sums();
        let fresh = Load::fast(server.addr(), 4, 100, vec![request]).fresh().run()?.sums();
        for (name, sum) in fresh {
            let all = sums.entry(name).or_default();
            all.requests += sum.requests;
            all.sent += sum.sent;
            all.received += sum.received;
            *all.statuses.entry("2xx".to_owned()).or_default() += sum.requests;
        }
        server.wait_for_no_connections()?;
        let report = probe.finish()?.report;
        let counts = server.finish()?;
        report.matches_exactly(&sums)?;
        let accept = report.server_calls("accept")?;
        let recv = report.server_calls("recv")?;
        let send = report.server_calls("send")?;
        ensure!(accept.calls == counts.accepts && counts.accepts == 104, "{calls}: {accept:?}, {counts:?}");
        ensure!(
            (recv.calls, recv.bytes) == (counts.reads, counts.read_bytes),
            "{calls}: {recv:?}, {counts:?}"
        );
        ensure!(
            (send.calls, send.bytes) == (counts.writes, counts.written_bytes),
            "{calls}: {send:?}, {counts:?}"
        );
        ensure!(accept.errors + recv.errors + send.errors == 0, "{calls}: errors that never happened");
        let modes: Vec<Syscall> = report.at("/syscalls")?;
        ensure!(
            modes.iter().all(|found| found.calls == 0 || found.mode == "blocking"),
            "{calls}: modes {modes:?} on a blocking server"
        );
    }
    Ok(())
}

/// On a server that counts nothing, strace beside the probe sees the same calls, failed ones (of connections
/// that the client reset) included.
fn counts_are_straces() -> Result<()> {
    for (event_loop, http) in [("asyncio", "h11"), ("uvloop", "httptools")] {
        let server = Uvicorn::new(event_loop, http).start()?;
        let probe = Probe::attach(server.pid(), &[])?;
        let strace = Strace::attach(server.pid())?;
        let load = Load::fast(server.addr(), 2, 60, mix()).fresh().thinking(Duration::from_millis(2));
        load.run()?;
        for _ in 0..5 {
            let mut leaving = Conn::open(server.addr())?;
            leaving.send(&Request::get("/sleep?ms=5").bytes)?;
            server.settle()?;
            leaving.reset()?;
        }
        server.settle()?;
        let seen = strace.finish()?;
        let report = probe.finish()?.report;
        report.nothing_lost()?;
        for (op, expected) in [("accept", seen.accept), ("recv", seen.recv), ("send", seen.send)] {
            let found = report.server_calls(op)?;
            let Syscall { calls, would_block, errors, bytes, .. } = found;
            let got = Calls { calls, would_block, errors, bytes };
            ensure!(got == expected, "{event_loop}: {op}: strace has {expected:?}, the report {got:?}");
        }
        ensure!(
            seen.accept.calls >= 65 && seen.recv.errors + seen.send.errors > 0,
            "no call failed: {seen:?}"
        );
    }
    Ok(())
}

/// A process that is only a client counts in the client role, and nothing of it becomes an endpoint.
fn client_role_is_apart() -> Result<()> {
    let server = Plain::start(env!("CARGO_BIN_EXE_plain-server"), "read")?;
    let probe = Probe::attach(std::process::id(), &["--no-children"])?;
    let log = Load::fast(server.addr(), 2, 50, vec![Request::get("/hello")]).run()?;
    let report = probe.finish()?.report;
    ensure!(report.endpoints()?.is_empty(), "a client's requests became endpoints");
    ensure!(report.server_calls("recv")?.calls == 0);
    let all: Vec<Syscall> = report.at("/syscalls")?;
    let bytes = |op: &str| {
        all.iter()
            .filter(|found| found.op == op && found.role == "client")
            .map(|found| found.bytes)
            .sum::<u64>()
    };
    let sums = log.sums();
    let expected = (sums["GET /hello"].sent, sums["GET /hello"].received);
    ensure!((bytes("send"), bytes("recv")) == expected, "{all:?}, expected {expected:?}");
    Ok(())
}
