//! Servers besides plain uvicorn, and uvicorn with several workers: exact counts, and the wire's times.

use std::fs;

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    say::say,
    server::{Server, Uvicorn},
    servers::{self, Kind},
};

use crate::{
    Suite, add,
    watch::{agrees_with_wire, captured, exact, finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, old_uvloop, gunicorn, hypercorn, granian, workers, nginx, nginx_static);
}

fn old_uvloop() -> Result<()> {
    serves("uvicorn, uvloop 0.22", &Kind::UvicornOldUvloop.start()?)
}

fn gunicorn() -> Result<()> {
    serves("gunicorn, 2 uvicorn workers", &Kind::Gunicorn(2).start()?)
}

fn hypercorn() -> Result<()> {
    serves("hypercorn", &Kind::Hypercorn.start()?)
}

fn granian() -> Result<()> {
    serves("granian", &Kind::Granian.start()?)
}

fn workers() -> Result<()> {
    serves("uvicorn, 3 workers", &Uvicorn { workers: 3, ..Uvicorn::new("uvloop", "httptools") }.start()?)
}

/// Requests of every shape on kept connections are the client's to the byte, then two endpoints as fast as can be are
/// timed as on the wire, kept and fresh.
fn serves(name: &str, server: &Server) -> Result<()> {
    exact(server, &Load::fast(server.addr(), 3, 120, every_shape()))?;
    let kept = Load::fast(server.addr(), 8, 1_500, mix());
    let fresh = Load { requests: 400, ..kept.clone() }.fresh();
    for (how, load) in [("8 kept", kept), ("8 fresh", fresh)] {
        let (outcome, client, wire) = captured(server, &load)?;
        say(&format!("    {name}, {how}: {:.0} requests/s", client.rate()));
        for names in [("GET /hello", "GET /hello"), ("GET /items/{id}", "GET /items/")] {
            agrees_with_wire(&format!("{name}, {how}"), &outcome.report, &wire, names)?;
        }
    }
    Ok(())
}

fn every_shape() -> Vec<Request> {
    vec![
        Request::new("HEAD /hello", "HEAD", "/hello", "", &[]),
        Request::get("/stream?chunks=7&size=1000"),
        Request::get_as("GET /status/{id}", "/status/204"),
        Request::post("/echo", &b"x".repeat(200_000)),
        Request::get_as("GET /bytes/{id}", "/bytes/300000"),
        Request::get_as("GET /status/{id}", "/status/500"),
        Request::post("/echo", &[]),
        Request::get("/hello"),
    ]
}

/// nginx in front of uvicorn: what it serves is the client's, what it asks of uvicorn is as much, and both are timed
/// as on the wire between client and nginx.
fn nginx() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let app = Uvicorn::new("uvloop", "httptools").start()?;
    let server = servers::nginx(&app.addr().to_string(), folder.path())?;
    exact(&server, &Load::fast(server.addr(), 3, 120, every_shape()))?;
    let (outcome, log, wire) = captured(&server, &Load::fast(server.addr(), 8, 1_500, mix()))?;
    agrees_with_wire("nginx, 8 kept", &outcome.report, &wire, ("GET /hello", "GET /hello"))?;
    for (name, sum) in log.sums() {
        let (method, path) = name.split_once(' ').unwrap_or_default();
        // The name that nginx gives its upstream, at the upstream's port.
        let asked =
            outcome.report.outgoing(&format!("{method} upstream.test:{} {path}", app.addr().port()))?;
        ensure!((asked.requests, asked.aborted) == (sum.requests, 0), "{asked:?}");
        let served = outcome.report.endpoint(&name)?;
        ensure!(asked.latency_s.p50 <= served.latency_s.p50, "{asked:?} {served:?}");
    }
    Ok(())
}

/// A file of 5 MB by sendfile, to a reader that keeps up and to one that does not: to the byte, and the end is the last
/// byte sent.
fn nginx_static() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("static"))?;
    fs::write(folder.path().join("static/file.bin"), vec![b'z'; 5_000_000])?;
    let server = servers::nginx("127.0.0.1:9", folder.path())?;
    let file = Request::get("/static/file.bin");
    exact(&server, &Load::fast(server.addr(), 2, 20, vec![file.clone()]))?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut conn = Conn::open_narrow(server.addr(), 65_536)?;
    conn.send(&file.bytes)?;
    // sleep: the reader's pause is what is measured.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let reply = conn.reply(false)?;
    let report = finish(probe, &server)?.report;
    report.nothing_lost()?;
    let found = report.endpoint("GET /static/file.bin")?;
    ensure!((found.requests, found.bytes_out) == (1, reply.bytes), "{found:?}");
    ensure!(found.latency_s.smallest()? >= 0.3, "{found:?}");
    Ok(())
}
