//! Shapes of messages: no body, an announced body, chunks, pieces.

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    server::{Server, Uvicorn},
};

use crate::{
    Suite, add,
    watch::{exact, finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, mixed_shapes, uploads, request_line_in_pieces, long_heads, not_http, websocket);
}

fn both() -> Result<[Server; 2]> {
    Ok([Uvicorn::new("asyncio", "h11").start()?, Uvicorn::new("uvloop", "httptools").start()?])
}

/// HEAD, 204, chunked streams and announced bodies in turn on kept connections: where one response ends
/// decides whether the next request is counted, so exact counts and bytes show every end right.
fn mixed_shapes() -> Result<()> {
    for server in both()? {
        let shapes = vec![
            Request::new("HEAD /hello", "HEAD", "/hello", "", &[]),
            Request::get("/stream?chunks=7&size=1000"),
            Request::get_as("GET /status/{id}", "/status/204"),
            Request::get("/stream?chunks=1&size=200000"),
            Request::get_as("GET /bytes/{id}", "/bytes/0"),
            Request::get("/stream?chunks=40&size=1"),
            Request::get_as("GET /bytes/{id}", "/bytes/300000"),
            Request::post("/echo", &[]),
            Request::get("/hello"),
        ];
        let (outcome, log) = exact(&server, &Load::fast(server.addr(), 3, 270, shapes))?;
        ensure!(log.connections == 3, "connections were lost");
        ensure!(outcome.report.endpoint("GET /stream")?.requests == 90);
    }
    Ok(())
}

/// Uploads of 200 KB, with a length and in chunks, are one request each, to the byte.
fn uploads() -> Result<()> {
    for server in both()? {
        let body = vec![b'x'; 200_000];
        let mut chunks = Vec::new();
        for chunk in body.chunks(30_000) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        let head = b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunked = Request { bytes: [head.as_slice(), &chunks].concat(), ..Request::post("/echo", &[]) };
        let uploads = vec![Request::post("/echo", &body), chunked, Request::get("/hello")];
        exact(&server, &Load::fast(server.addr(), 4, 90, uploads))?;
    }
    Ok(())
}

/// A request whose line and head come in four pieces is one request, read from its first to its last.
fn request_line_in_pieces() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut conn = Conn::open(server.addr())?;
        let request = Request::get("/hello?a=b");
        for _ in 0..3 {
            for piece in request.bytes.chunks(request.bytes.len().div_ceil(4)) {
                conn.send(piece)?;
                server.settle()?;
            }
            conn.reply(false)?;
        }
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /hello")?;
        ensure!((found.requests, found.latency_s.count) == (3, 3), "{found:?}");
        ensure!(found.bytes_in == 3 * request.bytes.len() as u64, "{} bytes", found.bytes_in);
        ensure!(report.endpoints()?.len() == 1, "pieces became endpoints");
    }
    Ok(())
}

/// Heads much longer than most (a cookie of 20 KB), with and without a body, are one request each.
fn long_heads() -> Result<()> {
    for server in both()? {
        let cookie = format!("cookie: c={}\r\n", "x".repeat(20_000));
        let heads = vec![
            Request::new("GET /hello", "GET", "/hello", &cookie, &[]),
            Request::new("POST /echo", "POST", "/echo", &cookie, &[b'y'; 5_000]),
            Request::get_as("GET /items/{id}", "/items/1"),
        ];
        exact(&server, &Load::fast(server.addr(), 4, 120, heads))?;
    }
    Ok(())
}

/// Bytes that are no HTTP on one connection leave the counts of the others alone.
fn not_http() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut strange = Conn::open(server.addr())?;
        strange.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x0d, 0x0a, 0x0d, 0x0a])?;
        strange.reply(false)?;
        let mut upper = Conn::open(server.addr())?;
        upper.send(b"HELLO\r\n\r\n")?;
        upper.reply(false)?;
        let log = Load::fast(server.addr(), 4, 100, mix()).run()?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        for (name, sum) in log.sums() {
            let found = report.endpoint(&name)?;
            ensure!((found.requests, found.bytes_out) == (sum.requests, sum.received), "{name}: {found:?}");
        }
        let timed: u64 = report.endpoints()?.iter().map(|found| found.latency_s.count).sum();
        ensure!(timed <= 102, "{timed} requests were timed, of 100 and at most 2 strange ones");
    }
    Ok(())
}

/// A WebSocket's frames never become requests, and its upgrade is one at most.
fn websocket() -> Result<()> {
    const HEADERS: &str = "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
                           sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut conn = Conn::open(server.addr())?;
        let upgrade = Request::new("GET /ws", "GET", "/ws", HEADERS, &[]);
        ensure!(conn.exchange(&upgrade)?.status == 101, "no upgrade");
        for _ in 0..20 {
            // A masked text frame (RFC 6455, 5.2) that says GET; the mask is zero, so it reads the same.
            conn.send(b"\x81\x83\0\0\0\0GET")?;
            let mut frame = [0; 64];
            let n = conn.read(&mut frame)?;
            ensure!(&frame[..n] == b"\x81\x03GET", "an echo of {:?}", &frame[..n]);
        }
        let log = Load::fast(server.addr(), 2, 40, mix()).run()?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        for found in report.endpoints()? {
            let expected = log.sums().get(&found.endpoint).map_or(1, |sum| sum.requests);
            let is_known = found.endpoint == "GET /ws" || expected == 20;
            ensure!(is_known && found.requests <= expected, "{found:?}");
        }
        ensure!(report.endpoint("GET /hello")?.requests == 20);
    }
    Ok(())
}
