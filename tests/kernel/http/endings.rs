//! How requests end: with which status, not at all, or not yet.

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    server::{Server, Uvicorn},
};

use crate::{
    Suite, add,
    watch::{exact, finish, until_blocked},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        statuses_are_classes,
        clients_that_leave,
        resets_that_overtake,
        still_in_flight,
        connection_close
    );
}

fn both() -> Result<[Server; 2]> {
    Ok([Uvicorn::new("asyncio", "h11").start()?, Uvicorn::new("uvloop", "httptools").start()?])
}

/// Each class is counted as such; a 5xx is an error and its time stays out of the percentiles.
fn statuses_are_classes() -> Result<()> {
    for server in both()? {
        let status = |code: u16| Request::get_as("GET /status/{id}", &format!("/status/{code}"));
        let mix = vec![status(200), status(404), status(500), status(204), status(503), status(404)];
        let load = Load::fast(server.addr(), 4, 120, mix);
        let (outcome, log) = exact(&server, &load)?;
        ensure!(log.sums()["GET /status/{id}"].statuses["5xx"] == 40);
        let found = outcome.report.endpoint("GET /status/{id}")?;
        ensure!(found.errors == 40, "{} errors of 40", found.errors);
        ensure!(found.latency_s.count == 80, "{} timed as successes, of 80", found.latency_s.count);
        let load = Load::fast(server.addr(), 2, 20, vec![Request::get("/nowhere")]);
        let (outcome, _) = exact(&server, &load)?;
        ensure!(outcome.report.endpoint("GET /nowhere")?.errors == 0, "a 404 is no error of the server");
    }
    Ok(())
}

/// Clients that leave before the response, by a reset and by a plain close: aborted, never timed.
fn clients_that_leave() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        for turn in 0..6 {
            let mut conn = Conn::open(server.addr())?;
            conn.exchange(&Request::get("/hello"))?;
            conn.send(&Request::get("/sleep?ms=400").bytes)?;
            server.settle()?;
            if turn % 2 == 0 {
                conn.reset()?;
            } else {
                drop(conn);
            }
        }
        let mut conn = Conn::open(server.addr())?;
        // It sleeps longer than what the handlers of the aborted requests have left.
        conn.exchange(&Request::get("/sleep?ms=500"))?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /sleep")?;
        ensure!(found.aborted == 6, "{} of 6 aborted: {found:?}", found.aborted);
        ensure!(found.latency_s.count == 1 && found.latency_s.smallest()? >= 0.5, "{:?}", found.latency_s);
        ensure!(found.in_flight == 0, "{} in flight", found.in_flight);
        ensure!(report.endpoint("GET /hello")?.requests == 6);
    }
    Ok(())
}

/// Resets that reach TCP before the server's own call returns or even begins: right behind the response (answered all
/// the same), while a request waits in the queue (aborted), while the connection waits for accept (its client gave up).
fn resets_that_overtake() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        for _ in 0..50 {
            let mut conn = Conn::open(server.addr())?;
            conn.exchange(&Request::get("/hello"))?;
            conn.reset()?;
        }
        let mut queued = (0..4).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>()?;
        for conn in &mut queued {
            conn.exchange(&Request::get("/items/1"))?;
        }
        let mut blocker = Conn::open(server.addr())?;
        blocker.exchange(&Request::get("/hello"))?;
        blocker.send(&Request::get("/block?ms=300").bytes)?;
        until_blocked(&server)?;
        for mut conn in queued {
            conn.send(&Request::get("/items/2").bytes)?;
            conn.reset()?;
        }
        for _ in 0..3 {
            Conn::open(server.addr())?.reset()?;
        }
        blocker.reply(false)?;
        blocker.exchange(&Request::get("/hello"))?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let hello = report.endpoint("GET /hello")?;
        ensure!(hello.requests == 52 && hello.aborted == 0, "{hello:?}");
        let items = report.endpoint("GET /items/{id}")?;
        ensure!(items.requests == 4 && items.aborted == 4 && items.in_flight == 0, "{items:?}");
        ensure!(items.latency_s.count == 4, "{items:?}");
        let listener = report.listener(server.addr().port())?;
        ensure!(listener.accepted == 58, "{} of 58 connections accepted", listener.accepted);
        ensure!(listener.abandoned == 3, "{} of 3 gave up", listener.abandoned);
    }
    Ok(())
}

/// Requests without a response at the run's end are in flight: neither answered nor aborted nor timed.
fn still_in_flight() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut conns = (0..3).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>()?;
        for conn in &mut conns {
            conn.send(&Request::get("/sleep?ms=20000").bytes)?;
        }
        Conn::open(server.addr())?.exchange(&Request::get("/hello"))?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /sleep")?;
        ensure!((found.in_flight, found.aborted, found.latency_s.count) == (3, 0, 0), "{found:?}");
        ensure!(report.endpoint("GET /hello")?.requests == 1);
    }
    Ok(())
}

/// With `Connection: close` the server ends the connection: each request is whole, none is aborted.
fn connection_close() -> Result<()> {
    for server in both()? {
        let closing = Request::new("GET /hello", "GET", "/hello", "connection: close\r\n", &[]);
        let (_, log) = exact(&server, &Load::fast(server.addr(), 4, 100, vec![closing]))?;
        ensure!(log.connections == 100, "the server did not close");
    }
    Ok(())
}
