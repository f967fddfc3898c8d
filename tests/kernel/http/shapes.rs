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
    watch::{exact, finish},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, mixed_shapes, uploads, request_line_in_pieces);
}

fn both() -> Result<[Server; 2]> {
    Ok([Uvicorn::new("asyncio", "h11").start()?, Uvicorn::new("uvloop", "httptools").start()?])
}

/// HEAD, 204, chunked streams and announced bodies in turn on kept connections: where one response ends
/// decides whether the next request is counted, so exact counts and bytes show every end right.
fn mixed_shapes() -> Result<()> {
    for server in both()? {
        let mix = vec![
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
        let (outcome, log) = exact(&server, &Load::fast(server.addr(), 3, 270, mix))?;
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
        let mix = vec![Request::post("/echo", &body), chunked, Request::get("/hello")];
        exact(&server, &Load::fast(server.addr(), 4, 90, mix))?;
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
