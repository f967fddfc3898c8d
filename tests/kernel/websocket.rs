//! WebSockets, against a raw client that knows every frame, and a packet capture.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    capture::Capture,
    load::Load,
    probe::Probe,
    report::{Report, WebSocket},
    say::say,
    server::{Server, Uvicorn, certificate, python},
    servers::Kind,
    stats::{CLIENT, WIRE, agree_but_for, percentile, sorted},
    websocket::{Log, Socket, first, frame},
};

use crate::{
    Suite, add,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    for event_loop in ["asyncio", "uvloop"] {
        for library in ["websockets", "wsproto"] {
            suite.add(&format!("websocket::shapes_{event_loop}_{library}"), move || {
                shapes(&server(event_loop, &[&["--ws", library][..], &NO_PINGS].concat())?)
            });
        }
    }
    add!(suite, shapes_hypercorn, times, pings, reconnects, hostile, inside_tls);
}

fn server(event_loop: &'static str, more: &[&str]) -> Result<Server> {
    let more = more.iter().map(|word| (*word).to_owned()).collect();
    // No pings but where a test wants them: they would be frames that its client has to tell apart.
    Uvicorn { more, ..Uvicorn::new(event_loop, "httptools") }.start()
}

const NO_PINGS: [&str; 2] = ["--ws-ping-interval", "1000"];

fn agrees(report: &Report, connections: u64, log: Log) -> Result<WebSocket> {
    report.nothing_lost()?;
    let found = report.websocket("/ws")?;
    let got = Log {
        messages_in: found.messages_in,
        bytes_in: found.bytes_in,
        messages_out: found.messages_out,
        bytes_out: found.bytes_out,
    };
    ensure!((found.connections, got) == (connections, log), "the client has {log:?}, the report {found:?}");
    Ok(found)
}

/// A DEFLATE block that stores its data, as permessage-deflate wants it (RFC 7692, 7.2.1).
fn stored(text: &[u8]) -> Result<Vec<u8>> {
    let n = u16::try_from(text.len())?;
    Ok([&[0][..], &n.to_le_bytes(), &(!n).to_le_bytes(), text, &[0]].concat())
}

/// Frames of any size, split and bundled, fragmented with a ping inside, compressed or not: every message once, every
/// byte of payload.
fn shapes(server: &Server) -> Result<()> {
    let probe = Probe::attach(server.pid(), &[])?;
    let mut socket = Socket::open(server.addr(), "/ws?token=secret", "")?;
    for size in [0, 1, 125, 126, 127, 4_000, 5_000, 65_535, 65_536, 300_000] {
        socket.message(first::BINARY, &vec![b'x'; size])?;
        socket.receive()?;
    }
    for (size, piece) in [(3, 1), (200, 7), (70_000, 9_999)] {
        let bytes = frame(first::TEXT, &vec![b'y'; size]);
        for piece in bytes.chunks(piece) {
            socket.send(piece)?;
            server.settle()?;
        }
        socket.count(size);
        socket.receive()?;
    }
    for (count, size) in [(40, 100), (10, 5_000), (3, 30_000)] {
        let bundle = frame(first::TEXT, &vec![b'z'; size]).repeat(count);
        (0..count).for_each(|_| socket.count(size));
        socket.send(&bundle)?;
        for _ in 0..count {
            socket.receive()?;
        }
    }
    let fragments = [
        frame(0x01, b"GET / HT"),
        frame(first::PING, b"there?"),
        frame(0x00, &[b'f'; 500]),
        frame(0x80, b""),
    ];
    socket.send(&fragments.concat())?;
    socket.count(508);
    socket.receive()?;
    let mut log = socket.close()?;
    let deflate = "sec-websocket-extensions: permessage-deflate\r\n";
    let mut socket = Socket::open(server.addr(), "/ws", deflate)?;
    for size in [10, 1_000, 30_000] {
        socket.message(first::COMPRESSED, &stored(&vec![b'c'; size])?)?;
        socket.receive()?;
    }
    log += socket.close()?;
    let outcome = finish(probe, server)?;
    agrees(&outcome.report, 2, log)?;
    ensure!(undecoded(&outcome.report)?.is_none(), "{}", outcome.stdout);
    ensure!(!outcome.stdout.contains("secret"), "a query string was kept");
    Ok(())
}

fn shapes_hypercorn() -> Result<()> {
    shapes(&Kind::Hypercorn.start()?)
}

/// The blind spot of frames that were not understood: how many connections.
fn undecoded(report: &Report) -> Result<Option<u64>> {
    let spots: Vec<serde_json::Value> = report.at("/health/blind_spots")?;
    let mut text = spots.iter().filter_map(|spot| spot["what"].as_str());
    let text = text.find_map(|what| what.strip_prefix("WebSocket messages: "));
    Ok(text.and_then(|text| text.split(' ').next()?.parse().ok()))
}

/// From a client's message to the server's answer, and from that to its acknowledgement, as on the wire.
fn times() -> Result<()> {
    const COUNT: usize = 500;
    for event_loop in ["asyncio", "uvloop"] {
        let server = server(event_loop, &NO_PINGS)?;
        let capture = Capture::start(server.addr().port())?;
        let probe = Probe::attach(server.pid(), &[])?;
        let mut socket = Socket::open(server.addr(), "/ws", "")?;
        for n in 0..COUNT {
            socket.message(first::TEXT, &vec![b'x'; 20 + n])?;
            socket.receive()?;
        }
        let log = socket.close()?;
        let outcome = finish(probe, &server)?;
        let wire = capture.finish()?;
        let found = agrees(&outcome.report, 1, log)?;
        ensure!(found.reply_s.count == COUNT as u64, "{found:?}");
        // The first exchange is the handshake, what follows the messages is the end.
        let exchanges = wire.exchanges.get(1..=COUNT).context("exchanges are missing on the wire")?;
        let replies = sorted(exchanges.iter().filter_map(probe_tests::wire::Exchange::latency_s));
        let acked = wire.deliveries.get(1..=COUNT).context("acknowledgements are missing on the wire")?;
        let deliveries = sorted(acked.iter().copied());
        ensure!(found.delivery_s.count >= COUNT as u64 * 99 / 100, "{found:?}");
        for (what, on_wire, got) in
            [("reply", &replies, found.reply_s), ("delivery", &deliveries, found.delivery_s)]
        {
            // Of 500 the p99 is the fifth longest: one that met other work of the machine, and packets wait for that too.
            for (name, share, value, spared) in
                [("p50", 0.5, got.p50, 0), ("p95", 0.95, got.p95, 0), ("p99", 0.99, got.p99, 2)]
            {
                let value = value.with_context(|| format!("no {name}"))?;
                let expected = percentile(on_wire, share);
                say(&format!(
                    "    {event_loop} {what} {name}: wire {:.3} ms, probe {:.3} ms",
                    expected * 1e3,
                    value * 1e3
                ));
                agree_but_for(spared, &format!("{what} {name}"), (on_wire, share), WIRE, value)?;
            }
        }
    }
    Ok(())
}

/// A client that answers pings late: the time from ping to pong is how long it waited.
fn pings() -> Result<()> {
    const COUNT: usize = 20;
    let server = server("uvloop", &["--ws", "websockets", "--ws-ping-interval", "0.05"])?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut socket = Socket::open(server.addr(), "/ws", "")?;
    let mut held = Vec::new();
    while held.len() < COUNT {
        let (first, payload) = socket.frame()?;
        let received = Instant::now();
        ensure!(first == first::PING, "a frame {first:#x}");
        // sleep: the time that is to be measured.
        std::thread::sleep(Duration::from_millis(40));
        socket.send(&frame(first::PONG, &payload))?;
        held.push(received.elapsed().as_secs_f64());
    }
    socket.close()?;
    let report = finish(probe, &server)?.report;
    let found = report.websocket("/ws")?;
    ensure!(found.ping_rtt_s.count == COUNT as u64, "{found:?}");
    let expected = percentile(&sorted(held), 0.5);
    let got = found.ping_rtt_s.p50.context("no p50")?;
    say(&format!("    ping to pong p50: client {:.3} ms, probe {:.3} ms", expected * 1e3, got * 1e3));
    CLIENT.agree("ping to pong", expected, got)
}

/// A socket that is opened after others had vanished takes the place of one of them; one that was closed properly leaves
/// none.
fn reconnects() -> Result<()> {
    let server = server("asyncio", &NO_PINGS)?;
    let probe = Probe::attach(server.pid(), &[])?;
    let open = || Socket::open(server.addr(), "/ws", "");
    let (a, b, c) = (open()?, open()?, open()?);
    a.vanish()?;
    b.vanish()?;
    c.close()?;
    // Many drains of the ring: the ends have taken effect.
    Load::fast(server.addr(), 4, 1_000, mix()).run()?;
    for socket in [open()?, open()?, open()?, open()?] {
        socket.close()?;
    }
    let found = finish(probe, &server)?.report.websocket("/ws")?;
    ensure!((found.connections, found.reconnects) == (7, 2), "{found:?}");
    Ok(())
}

/// Frames that cannot be, and noise: each such connection is counted as not understood, the others as ever.
fn hostile() -> Result<()> {
    let server = server("uvloop", &NO_PINGS)?;
    let probe = Probe::attach(server.pid(), &[])?;
    let bad: [&[u8]; 5] = [
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04",
        b"\x82\x05hello",
        b"\xf3\x80\0\0\0\0",
        b"\x89\xfe\x01\x00\x01\x02\x03\x04",
        b"GET / HTTP/1.1\r\nhost: test\r\n\r\n",
    ];
    for bytes in bad {
        let mut socket = Socket::open(server.addr(), "/ws", "")?;
        socket.send(bytes)?;
        socket.wait_for_end()?;
    }
    let mut socket = Socket::open(server.addr(), "/ws", "")?;
    for _ in 0..50 {
        socket.message(first::TEXT, b"hello")?;
        socket.receive()?;
    }
    let log = socket.close()?;
    let outcome = finish(probe, &server)?;
    agrees(&outcome.report, 6, log)?;
    ensure!(undecoded(&outcome.report)? == Some(5), "{}", outcome.stdout);
    Ok(())
}

/// Messages inside TLS count like others.
fn inside_tls() -> Result<()> {
    const COUNT: u64 = 60;
    let folder = certificate()?;
    let server = Uvicorn { more: NO_PINGS.map(str::to_owned).to_vec(), ..Uvicorn::new("asyncio", "h11") }
        .with_tls(folder.path())
        .start()?;
    let probe = Probe::attach(server.pid(), &[])?;
    let output = Command::new(python()?)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/wss_client.py"))
        .args([server.addr().port().to_string(), COUNT.to_string()])
        .output()
        .context("failed to start the client")?;
    ensure!(output.status.success(), "the client said {}", String::from_utf8_lossy(&output.stderr));
    let sums: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("failed to parse its log")?;
    let sum = |name: &str| sums[name].as_u64().context("a sum is missing");
    let log =
        Log { messages_in: COUNT, bytes_in: sum("sent")?, messages_out: COUNT, bytes_out: sum("received")? };
    let outcome = finish(probe, &server)?;
    let found = agrees(&outcome.report, 1, log)?;
    ensure!(found.reply_s.count == COUNT, "{found:?}");
    Ok(())
}
