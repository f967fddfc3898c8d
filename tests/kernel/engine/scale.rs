//! Many connections: as exact as few, in no more memory than the budget.

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    say::say,
    server::Uvicorn,
};

use crate::{
    Suite, add_timed,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add_timed!(suite, thousands_of_connections);
}

/// 500 idle connections, half of them older than the attach, and 2 000 short ones at full speed: counts
/// exact, nothing lost, memory within 64 MiB.
fn thousands_of_connections() -> Result<()> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let idle = Request::get_as("GET /bytes/{id}", "/bytes/9");
    let mut conns = Vec::new();
    for _ in 0..250 {
        conns.push(Conn::open(server.addr())?);
    }
    server.settle()?;
    let probe = Probe::attach(server.pid(), &[])?;
    for _ in 0..250 {
        conns.push(Conn::open(server.addr())?);
    }
    for conn in &mut conns {
        conn.exchange(&idle)?;
    }
    let log = Load::fast(server.addr(), 32, 2_000, mix()).fresh().run()?;
    for conn in &mut conns {
        conn.exchange(&idle)?;
    }
    let report = finish(probe, &server)?.report;
    report.nothing_lost()?;
    for (name, sum) in log.sums() {
        let found = report.endpoint(&name)?;
        ensure!((found.requests, found.bytes_out) == (sum.requests, sum.received), "{name}: {found:?}");
    }
    let found = report.endpoint("GET /bytes/{id}")?;
    ensure!((found.requests, found.latency_s.count) == (1_000, 1_000), "{found:?}");
    ensure!(report.listener(server.addr().port())?.accepted == 2_250);
    let memory: u64 = report.at("/health/agent_rss_bytes")?;
    say(&format!("    {:.1} MiB over 2 500 connections", memory as f64 / (1024.0 * 1024.0)));
    ensure!(memory <= 64 << 20, "{memory} bytes of memory");
    Ok(())
}
