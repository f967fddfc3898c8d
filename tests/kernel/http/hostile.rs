//! Bytes that no honest client sends: the probe stays, keeps its memory, counts what it could not decode by
//! construction of the attack, and everybody else's requests exactly.

use std::net::UdpSocket;

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::Probe,
    server::{Server, Uvicorn},
    servers, wait,
};

use crate::{
    Suite, add,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, hostile_clients, other_protocols, quic);
}

const EACH: u64 = 20;
/// The agent's peak memory; it needs about half of it for any run.
const MEMORY: u64 = 64 << 20;

fn both() -> Result<[Server; 2]> {
    Ok([Uvicorn::new("asyncio", "h11").start()?, Uvicorn::new("uvloop", "httptools").start()?])
}

/// Sends everything, whatever the server thinks of it, and reads until it hangs up.
fn throw(server: &Server, bytes: &[u8]) -> Result<()> {
    let mut conn = Conn::open(server.addr())?;
    if conn.send(bytes).is_ok() {
        // A reset ends it as well.
        let mut buffer = vec![0; 65_536];
        while conn.end_sending().is_ok() && conn.read(&mut buffer).is_ok_and(|n| n > 0) {}
    }
    Ok(())
}

fn hostile_clients() -> Result<()> {
    for server in both()? {
        let probe = Probe::attach(server.pid(), &[])?;
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..EACH {
            // A control byte first: no method begins like that, so each of these is undecodable.
            let noise: Vec<u8> = (0..2_000)
                .map(|at| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let byte = seed.to_be_bytes()[0];
                    if at == 0 { byte & 0x0f } else { byte }
                })
                .collect();
            throw(&server, &noise)?;
            // A request line of 1 MB.
            throw(&server, &[b"GET /", &b"a".repeat(1_000_000)[..], b" HTTP/1.1\r\n\r\n"].concat())?;
            // A head that never ends: nobody asked for anything yet.
            throw(&server, b"GET /never HTTP/1.1\r\nhost: t\r\nx: ")?;
            // A body that is shorter than it says.
            throw(&server, b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\n0123456789")?;
            // A body that is longer than it says: what is behind it is a head, and none at all.
            throw(
                &server,
                &[b"PUT /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello", &[0x01; 500][..]]
                    .concat(),
            )?;
        }
        let log = Load::fast(server.addr(), 4, 200, mix()).run()?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        for (name, sum) in log.sums() {
            let found = report.endpoint(&name)?;
            ensure!((found.requests, found.bytes_out) == (sum.requests, sum.received), "{name}: {found:?}");
        }
        let short = report.endpoint("POST /echo")?;
        ensure!(short.requests + short.aborted == EACH && short.in_flight == 0, "{short:?}");
        let long = report.endpoint("PUT /echo")?;
        ensure!(long.requests + long.aborted + long.in_flight == EACH, "{long:?}");
        ensure!(
            report.endpoints()?.iter().all(|found| found.endpoint != "GET /never"),
            "half a head became a request"
        );
        let spots = report.blind_spots()?;
        let undecodable = format!("undecodable traffic: {} connections", 3 * EACH);
        ensure!(spots.iter().any(|spot| spot.starts_with(&undecodable)), "{undecodable}, but {spots:?}");
        let memory: u64 = report.at("/health/agent_rss_bytes")?;
        ensure!(memory < MEMORY, "{memory} bytes");
    }
    Ok(())
}

/// TLS and HTTP/2 are named with their connections, never taken for silence.
fn other_protocols() -> Result<()> {
    let server = Uvicorn::new("asyncio", "h11").start()?;
    let probe = Probe::attach(server.pid(), &[])?;
    throw(&server, &[0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5])?;
    for _ in 0..2 {
        throw(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    }
    Conn::open(server.addr())?.exchange(&Request::get("/hello"))?;
    let report = finish(probe, &server)?.report;
    let spots = report.blind_spots()?;
    for expected in ["encrypted requests: 1 connections", "HTTP/2 requests: 2 connections"] {
        ensure!(spots.iter().any(|spot| spot.starts_with(expected)), "{expected}: {spots:?}");
    }
    ensure!(report.endpoint("GET /hello")?.requests == 1);
    Ok(())
}

/// Datagrams of QUIC handshakes are counted by port, others are not.
fn quic() -> Result<()> {
    let server = servers::datagrams()?;
    let probe = Probe::attach(server.pid(), &[])?;
    let socket = UdpSocket::bind("127.0.0.1:0").context("failed to bind a socket")?;
    socket.set_read_timeout(Some(wait::SOON))?;
    // RFC 9000, 17.2: a long header of version 1, one of version 2 (RFC 9369), one of a version to come, version
    // negotiation, a short header, a DNS query, and next to nothing.
    let datagrams: [(&[u8], bool); 7] = [
        (b"\xc3\0\0\0\x01\x08initial.", true),
        (b"\xd3\x6b\x33\x43\xcf\x08initial.", true),
        (b"\xc3\0\0\0\x07\x08initial.", false),
        (b"\x80\0\0\0\0\x08\x08", false),
        (b"\x43\0\0\0\x01protected", false),
        (b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\0\0\x01\0\x01", false),
        (b"\xc3", false),
    ];
    let mut expected = 0;
    for _ in 0..10 {
        for (datagram, is_quic) in datagrams {
            let padded = if is_quic { [datagram, &[0; 1_200]].concat() } else { datagram.to_vec() };
            socket.send_to(&padded, server.addr())?;
            socket.recv(&mut [0; 16]).context("no answer to a datagram")?;
            expected += u64::from(is_quic);
        }
    }
    let report = finish(probe, &server)?.report;
    report.nothing_lost()?;
    let spot = format!(
        "QUIC (HTTP/3) requests on UDP port {}: {expected} handshake datagrams",
        server.addr().port()
    );
    let spots = report.blind_spots()?;
    ensure!(spots.contains(&spot), "{spot}, but {spots:?}");
    ensure!(report.endpoints()?.is_empty(), "datagrams became requests");
    Ok(())
}
