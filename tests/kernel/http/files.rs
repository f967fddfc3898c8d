//! Responses whose bytes the server never sees: sendfile, splice, and what frameworks make of a file.

use std::fs;

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    server::Uvicorn,
    servers::{self, Kind},
};

use crate::{
    Suite, add,
    watch::{agrees_with_wire, captured, exact, finish},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, sendfile_and_splice, splice_to_a_slow_reader, file_response);
}

const FILE_BYTES: usize = 300_000;

fn get(how: &str, name: &str) -> Request {
    Request::get(&format!("/{how}/{name}"))
}

/// Files out by sendfile and by splice, a body in by splice: to the byte, and timed as on the wire.
fn sendfile_and_splice() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in [("none", 0), ("small", 500), ("large", FILE_BYTES)] {
        fs::write(folder.path().join(name), vec![b'f'; bytes])?;
    }
    let server = servers::file_server(folder.path())?;
    let put = Request::new("PUT /splice", "PUT", "/splice", "", &b"u".repeat(FILE_BYTES));
    let mut mix = vec![put];
    for how in ["sendfile", "splice"] {
        mix.extend(["none", "small", "large"].map(|name| get(how, name)));
    }
    let (outcome, log, wire) = captured(&server, &Load::fast(server.addr(), 2, 560, mix))?;
    ensure!(log.connections == 2, "connections were lost");
    for name in ["GET /sendfile/large", "GET /splice/large", "GET /splice/small"] {
        agrees_with_wire("files", &outcome.report, &wire, (name, name))?;
    }
    Ok(())
}

/// The end of a response is the last byte that its reader left room for.
fn splice_to_a_slow_reader() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("huge"), vec![b'h'; 8_000_000])?;
    let server = servers::file_server(folder.path())?;
    for how in ["sendfile", "splice"] {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut conn = Conn::open_narrow(server.addr(), 65_536)?;
        let request = get(how, "huge");
        let began = std::time::Instant::now();
        conn.send(&request.bytes)?;
        // sleep: the reader's pause is what is measured.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let paused = began.elapsed().as_secs_f64();
        let reply = conn.reply(false)?;
        let done = began.elapsed().as_secs_f64();
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint(&request.endpoint)?;
        ensure!((found.requests, found.bytes_out) == (1, reply.bytes), "{how}: {found:?}");
        let latency = found.latency_s.largest()?;
        ensure!((paused..=done).contains(&latency), "{how}: {paused} s, {done} s, {found:?}");
    }
    Ok(())
}

/// What frameworks make of a file, whole and to HEAD.
fn file_response() -> Result<()> {
    let head = Request::new("HEAD /file", "HEAD", "/file", "", &[]);
    let mix = vec![Request::get("/file"), head, Request::get("/hello")];
    for server in [
        Uvicorn::new("asyncio", "h11").start()?,
        Uvicorn::new("uvloop", "httptools").start()?,
        Kind::Hypercorn.start()?,
        Kind::Granian.start()?,
    ] {
        exact(&server, &Load::fast(server.addr(), 3, 90, mix.clone()))?;
    }
    Ok(())
}
