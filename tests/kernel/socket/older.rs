//! Connections and requests that are older than the attach.

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    host,
    load::Load,
    probe::Probe,
    server::{Uvicorn, V6},
    wait,
};

use crate::{
    Suite, add,
    watch::{CLOCK_NANOSLEEP, finish, mix, until_blocked},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        older_connections,
        request_over_the_attach,
        unfinished_request_over_the_attach,
        requests_that_wait_at_the_attach,
        attach_under_load,
    );
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

/// Requests that lie in the queues of a blocked server at the attach, whole and in part, on kept connections
/// and on ones not accepted yet, are read after it: counted, but never timed, for their beginning was not
/// seen. Those that arrive whole during the rest of the block are timed.
fn requests_that_wait_at_the_attach() -> Result<()> {
    for (event_loop, http) in [("asyncio", "h11"), ("uvloop", "httptools")] {
        let server = Uvicorn::new(event_loop, http).start()?;
        let hello = Request::get("/hello");
        let open = |n: usize| (0..n).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>();
        let mut kept = open(6)?;
        for conn in &mut kept {
            conn.exchange(&hello)?;
        }
        let mut late = open(2)?;
        for conn in &mut late {
            conn.exchange(&hello)?;
        }
        let mut blocker = Conn::open(server.addr())?;
        blocker.send(&Request::get("/block?ms=3000").bytes)?;
        until_blocked(&server)?;
        let mut waiting = kept;
        waiting.append(&mut open(2)?);
        let (first, second) = hello.bytes.split_at(10);
        for (turn, conn) in waiting.iter_mut().enumerate() {
            conn.send(if turn % 2 == 0 { &hello.bytes } else { first })?;
        }
        let probe = Probe::attach(server.pid(), &[])?;
        for conn in waiting.iter_mut().skip(1).step_by(2) {
            conn.send(second)?;
        }
        for conn in &mut late {
            conn.send(&hello.bytes)?;
        }
        ensure!(
            host::sleeping_in(server.pid()) == Some(CLOCK_NANOSLEEP),
            "the attach took longer than the block"
        );
        for conn in waiting.iter_mut().chain(&mut late) {
            conn.reply(false)?;
        }
        blocker.reply(false)?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /hello")?;
        ensure!(
            (found.requests, found.untimed, found.latency_s.count) == (10, 8, 2),
            "{event_loop}: {found:?}"
        );
    }
    Ok(())
}

/// An attach in the middle of a load at full speed misses nothing from then on.
fn attach_under_load() -> Result<()> {
    const CONNS: u64 = 16;
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let load = Load::fast(server.addr(), 16, 20_000, mix());
    let counter = load.answered.clone();
    let client = std::thread::spawn(move || load.run());
    wait::until("a running load", wait::SOON, || Ok((counter.get() > 500).then_some(())))?;
    let probe = Probe::attach(server.pid(), &[])?;
    let before = counter.get();
    let log = client.join().ok().context("the client panicked")??;
    let report = finish(probe, &server)?.report;
    report.nothing_lost()?;
    ensure!(before < 19_000, "the load was over before the attach");
    let (mut requests, mut slowest) = (0, 0.0_f64);
    for found in report.endpoints()? {
        requests += found.requests;
        slowest = slowest.max(found.latency_s.largest()?);
        ensure!(found.untimed <= CONNS, "{} untimed requests on {CONNS} connections", found.untimed);
        ensure!((found.aborted, found.in_flight) == (0, 0), "{found:?}");
    }
    // At the moment of the attach one request of each connection was under way.
    let least = 20_000 - before - CONNS;
    ensure!((least..=20_000).contains(&requests), "{requests} counted of at least {least}");
    let client = log.entries.iter().map(probe_tests::client::Entry::latency_s).fold(0.0, f64::max);
    ensure!(slowest <= client, "the slowest took {slowest} s, the client's slowest {client} s");
    Ok(())
}
