//! Each part of a request's latency holds what it is named after, and the parts add up.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use probe_tests::{
    capture::Capture,
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    report::{Dist, Endpoint},
    server::{Server, Uvicorn},
    stats::{CLIENT, WIRE},
};

use crate::{
    Suite, add,
    watch::{agrees, exact, finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, parts_add_up, app_time, body_in_two_pieces, slow_reader);
}

fn both() -> Result<[Server; 2]> {
    Ok([Uvicorn::new("asyncio", "h11").start()?, Uvicorn::new("uvloop", "httptools").start()?])
}

fn adds_up(endpoint: &Endpoint) -> Result<()> {
    let sum: f64 = endpoint.breakdown.parts().iter().map(Dist::total).sum();
    let whole = endpoint.latency_s.total();
    ensure!((sum - whole).abs() <= 1e-6 * whole, "{}: parts {sum} s, whole {whole} s", endpoint.endpoint);
    Ok(())
}

/// Over many requests, kept and fresh, the parts' sums add up to the latencies' sum.
fn parts_add_up() -> Result<()> {
    for server in both()? {
        for load in
            [Load::fast(server.addr(), 8, 800, mix()), Load::fast(server.addr(), 8, 400, mix()).fresh()]
        {
            let (outcome, _) = exact(&server, &load)?;
            for endpoint in outcome.report.endpoints()? {
                adds_up(&endpoint)?;
            }
        }
    }
    Ok(())
}

/// A handler that sleeps 50 ms shows in the application's time and nowhere else.
fn app_time() -> Result<()> {
    for server in both()? {
        let load = Load::fast(server.addr(), 4, 40, vec![Request::get("/sleep?ms=50")]);
        let (outcome, log) = exact(&server, &load)?;
        let found = outcome.report.endpoint("GET /sleep")?;
        adds_up(&found)?;
        // libuv's timers count whole milliseconds from the begin of the loop's turn: one may end early.
        ensure!(found.breakdown.app_s.smallest()? >= 0.0489, "{:?}", found.breakdown.app_s);
        agrees("app time of a sleep", CLIENT, 0.050, found.breakdown.app_s.p50)?;
        let client = log.latencies("GET /sleep");
        agrees("latency of a sleep", CLIENT, client[client.len() / 2], found.latency_s.p50)?;
        for part in [found.breakdown.receive_queue_s, found.breakdown.read_s, found.breakdown.write_s] {
            ensure!(part.p50 < found.breakdown.app_s.p50, "{:?}", found.breakdown);
        }
    }
    Ok(())
}

/// A body of which the second piece comes 200 ms after the first: that time stands in the read part, and
/// agrees with the wire.
fn body_in_two_pieces() -> Result<()> {
    for server in both()? {
        let capture = Capture::start(server.addr().port())?;
        let probe = Probe::attach(server.pid(), &[])?;
        let mut conn = Conn::open(server.addr())?;
        let request = Request::post("/echo", &[b'x'; 3_000]);
        let (first, second) = request.bytes.split_at(request.bytes.len() - 1_000);
        conn.send(first)?;
        let sent = Instant::now();
        // sleep: the pause between the pieces is what is measured.
        std::thread::sleep(Duration::from_millis(200));
        let pause = sent.elapsed().as_secs_f64();
        conn.send(second)?;
        let received = conn.reply(false)?.bytes;
        let report = finish(probe, &server)?.report;
        let wire = capture.finish()?;
        let found = report.endpoint("POST /echo")?;
        adds_up(&found)?;
        ensure!((found.bytes_in, found.bytes_out) == (request.bytes.len() as u64, received), "{found:?}");
        agrees("pause inside a body", CLIENT, pause, found.breakdown.read_s.max)?;
        let whole = wire.latencies_from_handshake("POST /echo")[0];
        agrees("latency of a body in two pieces", WIRE, whole, found.latency_s.max)?;
    }
    Ok(())
}

/// 20 MB to a client that reads nothing for 300 ms: the write part holds it, its end is the last byte
/// handed to the kernel, before the client has read everything and after it began to.
fn slow_reader() -> Result<()> {
    const BYTES: u64 = 20_000_000;
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut conn = Conn::open_narrow(server.addr(), 65_536)?;
        let request = Request::get_as("GET /bytes/{id}", "/bytes/20000000");
        let sent = Instant::now();
        conn.send(&request.bytes)?;
        // sleep: the reader's pause is what is measured.
        std::thread::sleep(Duration::from_millis(300));
        let reply = conn.reply(false)?;
        let done = sent.elapsed().as_secs_f64();
        ensure!(reply.body_bytes == BYTES, "{} bytes received", reply.body_bytes);
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /bytes/{id}")?;
        adds_up(&found)?;
        ensure!((found.requests, found.bytes_out) == (1, reply.bytes), "{found:?}, {} received", reply.bytes);
        let write = found.breakdown.write_s.largest()?;
        let whole = found.latency_s.largest()?;
        ensure!((0.3..=done).contains(&whole), "latency {whole} s, client {done} s");
        // What is left is the making of the body.
        ensure!((0.2..=whole).contains(&write), "write {write} s of {whole} s");
    }
    Ok(())
}
