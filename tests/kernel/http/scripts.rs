//! Raw scripts: pieces on a connection, cut where they hurt. The client knows what it sent and what came back.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    probe::Probe,
    server::{Server, Uvicorn},
    stats::CLIENT,
};

use crate::{
    Suite, add,
    watch::{agrees, finish},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, cut_anywhere, upload_of_50_mb, broken_off_uploads);
}

fn both() -> Result<[Server; 2]> {
    Ok([Uvicorn::new("asyncio", "h11").start()?, Uvicorn::new("uvloop", "httptools").start()?])
}

/// What one connection sends, piece by piece; the last request closes it.
struct Script {
    pieces: Vec<Vec<u8>>,
    /// Endpoints in their order, with the bytes of each request.
    asked: Vec<(&'static str, usize)>,
}

const CLOSE: &str = "connection: close\r\n";

fn get(target: &str, headers: &str) -> Vec<u8> {
    Request::new("", "GET", target, headers, &[]).bytes
}

fn script(pieces: Vec<Vec<u8>>, asked: &[(&'static str, usize)]) -> Script {
    Script { pieces, asked: asked.to_vec() }
}

fn scripts() -> Vec<Script> {
    let hello = get("/hello", "");
    let last = get("/items/1", CLOSE);
    let post =
        |len: usize| format!("POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: {len}\r\n\r\n").into_bytes();
    let chunked = |line: &str, body: &[u8], size: usize| {
        let mut bytes =
            format!("{line} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(size) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    };
    let small = [post(10), b"1234567890".to_vec()].concat();
    let large = [post(60_000), b"x".repeat(60_000)].concat();
    let put = Request::new("", "PUT", "/echo", "", &b"y".repeat(200_000)).bytes;
    let pieces_of = |bytes: &[u8], size: usize| bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let expect =
        b"POST /echo HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n".to_vec();
    let tiny = chunked("PUT /echo", &b"z".repeat(100), 7);
    let many = chunked("POST /echo", &b"0\r\n\r\n".repeat(20_000), 9_000);
    let asks = |name, bytes: &[u8]| (name, bytes.len());
    let (on_hello, on_items) = (asks("GET /hello", &hello), asks("GET /items/{id}", &last));
    vec![
        // Four requests in one segment.
        script(vec![[&hello[..], &hello, &hello, &last].concat()], &[on_hello, on_hello, on_hello, on_items]),
        // The tail of a body and the next request in one segment.
        script(
            vec![small[..small.len() - 5].to_vec(), [&small[small.len() - 5..], &last].concat()],
            &[asks("POST /echo", &small), on_items],
        ),
        // The same where the read is too long to be captured whole.
        script(vec![[&large[..], &last].concat()], &[asks("POST /echo", &large), on_items]),
        script(
            vec![expect.clone(), b"abc".to_vec(), last.clone()],
            &[("POST /echo", expect.len() + 3), on_items],
        ),
        script(vec![b"GET /hello HTTP/1.0\r\n\r\n".to_vec()], &[("GET /hello", 23)]),
        script(vec![b"GET /stream?chunks=9&size=9000 HTTP/1.0\r\n\r\n".to_vec()], &[("GET /stream", 43)]),
        script([pieces_of(&put, 30_000), vec![last.clone()]].concat(), &[asks("PUT /echo", &put), on_items]),
        script([pieces_of(&tiny, 11), vec![last.clone()]].concat(), &[asks("PUT /echo", &tiny), on_items]),
        // Bodies full of what looks like their ends.
        script(
            [pieces_of(&many, 45_000), vec![last.clone()]].concat(),
            &[asks("POST /echo", &many), on_items],
        ),
        script(
            vec![get("/status/304", ""), last.clone()],
            &[("GET /status/{id}", get("/status/304", "").len()), on_items],
        ),
        // Byte by byte.
        script(pieces_of(&last, 1), &[on_items]),
    ]
}

/// Each script on a connection of its own: requests, bytes of both directions and statuses to the byte.
fn cut_anywhere() -> Result<()> {
    for server in both()? {
        for (at, script) in scripts().into_iter().enumerate() {
            let probe = Probe::attach(server.pid(), &[])?;
            let mut conn = Conn::open(server.addr())?;
            for piece in &script.pieces {
                conn.send(piece)?;
                server.settle()?;
            }
            let mut received = 0;
            let mut buffer = vec![0; 65_536];
            loop {
                match conn.read(&mut buffer)? {
                    0 => break,
                    n => received += n as u64,
                }
            }
            let report = finish(probe, &server)?.report;
            report.nothing_lost()?;
            let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
            for (name, bytes) in &script.asked {
                let sum = expected.entry(name).or_default();
                sum.0 += 1;
                sum.1 += *bytes as u64;
            }
            let found = report.endpoints()?;
            ensure!(found.len() == expected.len(), "script {at}: {found:?}");
            for (name, (requests, bytes_in)) in expected {
                let found = report.endpoint(name)?;
                ensure!(
                    (found.requests, found.bytes_in, found.aborted, found.in_flight, found.errors)
                        == (requests, bytes_in, 0, 0, 0),
                    "script {at}: {requests} requests of {bytes_in} bytes, but {found:?}"
                );
                ensure!(found.latency_s.count == requests, "script {at}: {found:?}");
            }
            let bytes_out: u64 = found.iter().map(|found| found.bytes_out).sum();
            ensure!(bytes_out == received, "script {at}: {received} bytes came, {bytes_out} in the report");
            ensure!(report.blind_spots()?.iter().all(|spot| !spot.contains("undecod")), "script {at}");
        }
    }
    Ok(())
}

/// 50 MB in one request: to the byte, and as long as the client had to wait.
fn upload_of_50_mb() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let upload = Request::post("/echo", &b"u".repeat(50_000_000));
        let entry = Conn::open(server.addr())?.exchange(&upload)?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("POST /echo")?;
        ensure!(
            (found.requests, found.bytes_in, found.bytes_out) == (1, entry.sent, entry.received),
            "{found:?}"
        );
        agrees("an upload of 50 MB", CLIENT, entry.latency_s(), found.latency_s.max)?;
    }
    Ok(())
}

/// Uploads that the client breaks off, by a close and by a reset, are aborted and never timed.
fn broken_off_uploads() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut sent = 0;
        for turn in 0..4 {
            let mut conn = Conn::open(server.addr())?;
            let head = b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 50000000\r\n\r\n";
            let piece = [&head[..], &b"u".repeat(1_000_000)].concat();
            conn.send(&piece)?;
            server.settle()?;
            sent += piece.len() as u64;
            if turn % 2 == 0 {
                conn.reset()?;
            }
        }
        Conn::open(server.addr())?.exchange(&Request::get("/hello"))?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("POST /echo")?;
        ensure!((found.requests, found.aborted, found.in_flight) == (0, 4, 0), "{found:?}");
        ensure!(found.latency_s.count == 0 && found.bytes_in == sent, "{sent} bytes sent, {found:?}");
    }
    Ok(())
}
