//! A blocked event loop: what the other endpoint's requests waited is counted, and stands in a queue.

use anyhow::{Result, ensure};
use probe_tests::{
    capture::Capture,
    client::{Conn, Request},
    probe::Probe,
    server::Uvicorn,
    stats::{self, CLIENT, WIRE, percentile},
};

use crate::{
    Suite, add_timed,
    watch::{agrees, finish, until_blocked},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add_timed!(suite, kept_connections_wait_in_the_receive_queue, fresh_connections_wait_in_the_accept_queue);
}

const BLOCK_S: f64 = 0.5;
const VICTIMS: usize = 12;
const HEALTHY: usize = 488;

/// Requests on kept connections during the block: p99 and max agree with the client's and with the wire,
/// and the wait stands in the receive queue.
fn kept_connections_wait_in_the_receive_queue() -> Result<()> {
    blocked("asyncio", "h11", true)?;
    blocked("uvloop", "httptools", true)
}

/// The same on fresh connections: the wait stands in the accept queue.
fn fresh_connections_wait_in_the_accept_queue() -> Result<()> {
    blocked("asyncio", "h11", false)?;
    blocked("uvloop", "httptools", false)
}

fn blocked(event_loop: &'static str, http: &'static str, kept: bool) -> Result<()> {
    let label = format!("{event_loop} {}", if kept { "kept" } else { "fresh" });
    let server = Uvicorn::new(event_loop, http).start()?;
    let hello = Request::get("/hello");
    let mut blocker = Conn::open(server.addr())?;
    let mut conns: Vec<Conn> = (0..VICTIMS).map(|_| Conn::open(server.addr())).collect::<Result<_>>()?;
    for conn in &mut conns {
        conn.exchange(&hello)?;
    }
    server.settle()?;
    let capture = Capture::start(server.addr().port())?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut latencies = Vec::new();
    for turn in 0..HEALTHY {
        latencies.push(conns[turn % VICTIMS].exchange(&hello)?.latency_s());
    }
    blocker.send(&Request::get("/block?ms=500").bytes)?;
    until_blocked(&server)?;
    let mut begun = Vec::new();
    for conn in &mut conns {
        if !kept {
            *conn = Conn::open(server.addr())?;
        }
        begun.push(std::time::Instant::now());
        conn.send(&hello.bytes)?;
    }
    for (conn, begun) in conns.iter_mut().zip(begun) {
        conn.reply(false)?;
        latencies.push(begun.elapsed().as_secs_f64());
    }
    blocker.reply(false)?;
    let report = finish(probe, &server)?.report;
    let wire = capture.finish()?;
    report.nothing_lost()?;

    let latencies = stats::sorted(latencies);
    let found = report.endpoint("GET /hello")?;
    ensure!(found.requests == (VICTIMS + HEALTHY) as u64, "{} requests", found.requests);
    let (client_p99, client_max) = (percentile(&latencies, 0.99), percentile(&latencies, 1.0));
    ensure!(client_p99 > 0.5 * BLOCK_S, "the client saw no block: p99 {client_p99} s");
    agrees(&format!("{label}: p99 against the client"), CLIENT, client_p99, found.latency_s.p99)?;
    agrees(&format!("{label}: max against the client"), CLIENT, client_max, found.latency_s.max)?;
    let on_wire =
        if kept { wire.latencies("GET /hello") } else { wire.latencies_from_handshake("GET /hello") };
    ensure!(on_wire.len() == VICTIMS + HEALTHY, "{} on the wire", on_wire.len());
    agrees(&format!("{label}: p99 against the wire"), WIRE, percentile(&on_wire, 0.99), found.latency_s.p99)?;
    agrees(&format!("{label}: max against the wire"), WIRE, percentile(&on_wire, 1.0), found.latency_s.max)?;
    let parts = found.breakdown;
    let queue = if kept { parts.receive_queue_s } else { parts.accept_queue_s };
    ensure!(
        queue.largest()? >= 0.9 * client_max,
        "{label}: the queue holds {:?} of {client_max} s",
        queue.max
    );
    ensure!(parts.app_s.largest()? < 0.1 * BLOCK_S, "{label}: the wait stands in the application's time");
    Ok(())
}
