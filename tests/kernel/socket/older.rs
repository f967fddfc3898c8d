//! Connections and requests that are older than the attach.

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    probe::Probe,
    server::{Uvicorn, V6},
};

use crate::{Suite, add, watch::finish};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, older_connections, request_over_the_attach, unfinished_request_over_the_attach);
}

/// Eight connections that carried requests before the attach: exactly those after it are counted, each
/// with a latency, on both loops and both address families.
fn older_connections() -> Result<()> {
    let request = Request::get_as("GET /items/{id}", "/items/3");
    for server in
        [Uvicorn::new("asyncio", "h11"), Uvicorn { host: V6, ..Uvicorn::new("uvloop", "httptools") }]
    {
        let server = server.start()?;
        let mut conns = Vec::new();
        for _ in 0..8 {
            let mut conn = Conn::open(server.addr())?;
            conn.exchange(&request)?;
            conns.push(conn);
        }
        server.settle()?;
        let probe = Probe::attach(server.pid(), &[])?;
        for _ in 0..25 {
            for conn in &mut conns {
                conn.exchange(&request)?;
            }
        }
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /items/{id}")?;
        ensure!(found.requests == 200, "{} requests of 200 counted", found.requests);
        ensure!(
            found.latency_s.count == 200,
            "{} of 200 timed, {} untimed",
            found.latency_s.count,
            found.untimed
        );
        ensure!(report.endpoints()?.len() == 1, "endpoints that nobody asked for");
    }
    Ok(())
}

/// A request that arrived before the attach and is answered after it never shows as a fast one, and does
/// not shift the requests that follow on its connection.
fn request_over_the_attach() -> Result<()> {
    for event_loop in ["asyncio", "uvloop"] {
        let server = Uvicorn::new(event_loop, "httptools").start()?;
        let mut conn = Conn::open(server.addr())?;
        conn.send(&Request::get("/sleep?ms=3000").bytes)?;
        server.settle()?;
        let probe = Probe::attach(server.pid(), &[])?;
        conn.reply(false)?;
        for _ in 0..10 {
            conn.exchange(&Request::get("/hello"))?;
        }
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let hello = report.endpoint("GET /hello")?;
        ensure!((hello.requests, hello.latency_s.count) == (10, 10), "{hello:?}");
        // A response without its request has no name: whatever line it stands in, it is never timed.
        for other in report.endpoints()?.iter().filter(|other| other.endpoint != "GET /hello") {
            ensure!(other.latency_s.count == 0 && other.requests <= 1, "{other:?}");
        }
    }
    Ok(())
}

/// A request whose first half was read before the attach is not taken for a whole one; the next is.
fn unfinished_request_over_the_attach() -> Result<()> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let mut conn = Conn::open(server.addr())?;
    let request = Request::get("/hello?filler=0123456789");
    let (first, second) = request.bytes.split_at(12);
    conn.send(first)?;
    server.settle()?;
    let probe = Probe::attach(server.pid(), &[])?;
    conn.send(second)?;
    conn.reply(false)?;
    for _ in 0..10 {
        conn.exchange(&Request::get("/items/1"))?;
    }
    let report = finish(probe, &server)?.report;
    report.nothing_lost()?;
    let items = report.endpoint("GET /items/{id}")?;
    ensure!((items.requests, items.latency_s.count) == (10, 10), "{items:?}");
    for other in report.endpoints()?.iter().filter(|other| other.endpoint != "GET /items/{id}") {
        ensure!(other.latency_s.count == 0 && other.requests <= 1, "{other:?}");
    }
    Ok(())
}
