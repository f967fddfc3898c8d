//! Servers that are not uvicorn: blocking calls, a thread for each connection.

use anyhow::Result;
use probe_tests::{client::Request, load::Load, plain::Plain, probe::Probe, server::python_http_server};

use crate::{
    Suite, add,
    watch::{agrees_with_wire, captured, exact},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, python_threads, plain_threads);
}

fn mix() -> Vec<Request> {
    vec![Request::get("/one"), Request::get_as("GET /two/{id}", "/two/22")]
}

/// Python's own `http.server`, kept and fresh connections: exact, and timed as the wire times it.
fn python_threads() -> Result<()> {
    let (server, _) = python_http_server(false)?;
    let (outcome, _, wire) = captured(&server, &Load::fast(server.addr(), 8, 1_000, mix()))?;
    agrees_with_wire("http.server, 8 kept", &outcome.report, &wire, ("GET /one", "GET /one"))?;
    // Its accept queue holds five; with more at a time the clients' second tries would be what is measured.
    exact(&server, &Load::fast(server.addr(), 4, 400, mix()).fresh())?;
    Ok(())
}

/// A server that is not Python at all, at a rate that no uvicorn reaches: nothing is lost.
fn plain_threads() -> Result<()> {
    let server = Plain::start(env!("CARGO_BIN_EXE_plain-server"), "read")?;
    let probe = Probe::attach(server.pid(), &[])?;
    let log = Load::fast(server.addr(), 8, 40_000, mix()).run()?;
    server.wait_for_no_connections()?;
    probe_tests::say::say(&format!("    plain server: {:.0} requests/s", log.rate()));
    probe.finish()?.report.matches_exactly(&log.sums())
}
