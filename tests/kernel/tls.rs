//! Requests inside TLS, against a client through whose hands every byte of plain text and of cipher text passes, and
//! against a capture of the cipher text.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    capture::Capture,
    client::Conn,
    load::Sums,
    probe::{Probe, binary},
    report::Report,
    say::say,
    server::{Server, Uvicorn, certificate, late_https_server, python, python_https_server},
    servers,
    stats::{WIRE, agree_but_for, percentile, sorted},
    wait,
};
use serde::Deserialize;

use crate::{Suite, add, watch::finish};

const VERSIONS: [&str; 2] = ["TLSv1_2", "TLSv1_3"];

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        uvicorn_asyncio,
        uvicorn_uvloop,
        http_server,
        hypercorn,
        nginx,
        late_library,
        doctor_of_a_library,
        older_session,
        without_the_library,
        bad_handshakes
    );
}

/// What the client did.
#[derive(Debug, Deserialize)]
struct Log {
    entries: Vec<Entry>,
    cipher_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Entry {
    endpoint: String,
    status: u16,
    sent: u64,
    received: u64,
    took_s: f64,
}

impl Log {
    fn sums(&self) -> BTreeMap<String, Sums> {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for entry in &self.entries {
            let sum = sums.entry(template(&entry.endpoint)).or_default();
            sum.requests += 1;
            sum.sent += entry.sent;
            sum.received += entry.received;
            *sum.statuses.entry(format!("{}xx", entry.status / 100)).or_default() += 1;
        }
        sums
    }
}

/// As a report names it: numbers are parameters.
fn template(endpoint: &str) -> String {
    let is_number = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    let segments = endpoint.split('/').map(|segment| if is_number(segment) { "{id}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// A client whose first request has been answered.
struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    fn start(server: &Server, version: &str, plan: &[(&str, &str, u64, u64)]) -> Result<Self> {
        let mut command = Command::new(python()?);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/tls_client.py"));
        command.args([&server.addr().port().to_string(), version, "held"]);
        for (method, target, body_bytes, count) in plan {
            command.args([method, target, &*body_bytes.to_string(), &count.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the TLS client")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        ensure!(line == "ready\n", "the client said {line:?}");
        Ok(Self { child, stdin, stdout })
    }

    /// Lets it send the rest, and waits for its log.
    fn finish(mut self) -> Result<Log> {
        self.stdin.write_all(b"go\n").context("failed to release the client")?;
        let mut text = String::new();
        self.stdout.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the client ended with {status}");
        serde_json::from_str(&text).context("failed to parse the client's log")
    }
}

/// Small, large and streamed bodies, both ways, then many small ones for the times.
const UVICORN: &[(&str, &str, u64, u64)] = &[
    ("GET", "/items/7?token=secret", 0, 1),
    ("GET", "/bytes/3000000", 0, 2),
    ("GET", "/stream?chunks=30&size=2000", 0, 3),
    ("POST", "/echo", 300_000, 3),
    ("GET", "/hello", 0, 400),
];

/// On every version: counts and bytes are the client's, times those of the cipher text on the wire.
fn exact(server: &Server, plan: &[(&str, &str, u64, u64)], timed: &str) -> Result<()> {
    for version in VERSIONS {
        let capture = Capture::start(server.addr().port())?;
        let probe = Probe::attach(server.pid(), &[])?;
        let log = Client::start(server, version, plan)?.finish()?;
        let outcome = finish(probe, server)?;
        let wire = capture.finish()?;
        outcome.report.matches_exactly(&log.sums())?;
        ensure!(encrypted(&outcome.report)?.is_none(), "{}", outcome.stdout);
        ensure!(!outcome.stdout.contains("secret"), "a query string was kept");
        // The last requests are of one kind and wait for each other: the last exchanges on the wire are theirs.
        let n_timed = log.entries.iter().filter(|entry| entry.endpoint == timed).count();
        let exchanges = &wire.exchanges[wire.exchanges.len() - n_timed..];
        let on_wire = sorted(exchanges.iter().filter_map(probe_tests::wire::Exchange::latency_s));
        let of_client =
            sorted(log.entries.iter().filter(|entry| entry.endpoint == timed).map(|entry| entry.took_s));
        let got = outcome.report.endpoint(&template(timed))?.latency_s;
        // Of 400 the p99 is the fourth longest: one that met other work of the machine, and packets wait for that too.
        for (name, share, value, spared) in
            [("p50", 0.5, got.p50, 0), ("p95", 0.95, got.p95, 0), ("p99", 0.99, got.p99, 2)]
        {
            let value = value.with_context(|| format!("no {name}"))?;
            let expected = percentile(&on_wire, share);
            say(&format!(
                "    {version} {timed} {name}: wire {:.3} ms, probe {:.3} ms, client {:.3} ms",
                expected * 1e3,
                value * 1e3,
                percentile(&of_client, share) * 1e3
            ));
            agree_but_for(spared, name, (&on_wire, share), WIRE, value)?;
        }
    }
    Ok(())
}

/// The blind spot of encrypted connections: how many, and bytes.
fn encrypted(report: &Report) -> Result<Option<(u64, u64)>> {
    let spots: Vec<serde_json::Value> = report.at("/health/blind_spots")?;
    let Some(text) = spots
        .iter()
        .filter_map(|spot| spot["what"].as_str())
        .find_map(|what| what.strip_prefix("encrypted requests: "))
    else {
        return Ok(None);
    };
    let mut numbers = text.split(' ').filter_map(|word| word.parse().ok());
    Ok(numbers.next().zip(numbers.next()))
}

/// Python's asyncio gives the library memory, no socket.
fn uvicorn_asyncio() -> Result<()> {
    let folder = certificate()?;
    exact(&Uvicorn::new("asyncio", "h11").with_tls(folder.path()).start()?, UVICORN, "GET /hello")
}

/// uvloop does too, in its own way.
fn uvicorn_uvloop() -> Result<()> {
    let folder = certificate()?;
    exact(&Uvicorn::new("uvloop", "httptools").with_tls(folder.path()).start()?, UVICORN, "GET /hello")
}

/// Python's own server lets the library read and write the socket, blocking, in a thread per connection.
fn http_server() -> Result<()> {
    let folder = certificate()?;
    let server = python_https_server(folder.path())?;
    exact(&server, &[("GET", "/first", 0, 1), ("GET", "/plain", 0, 400)], "GET /plain")
}

/// hypercorn, through anyio's memory buffers.
fn hypercorn() -> Result<()> {
    let folder = certificate()?;
    exact(&servers::hypercorn_in_tls(folder.path())?, UVICORN, "GET /hello")
}

/// nginx, a program in C that gives the library its socket; behind it the same requests once more, outgoing.
fn nginx() -> Result<()> {
    let folder = certificate()?;
    let app = Uvicorn::new("uvloop", "httptools").start()?;
    let server = servers::nginx_in_tls(&app.addr().to_string(), folder.path())?;
    exact(&server, UVICORN, "GET /hello")?;
    let probe = Probe::attach(server.pid(), &[])?;
    let plan = [("GET", "/hello", 0, 30)];
    let log = Client::start(&server, "TLSv1_3", &plan)?.finish()?;
    let report = finish(probe, &server)?.report;
    report.matches_exactly(&log.sums())?;
    let asked = report.outgoing(&format!("GET upstream.test:{} /hello", app.addr().port()))?;
    ensure!(asked.requests == 30, "{asked:?}");
    Ok(())
}

/// A library that is loaded while the probe is attached is found while the server runs.
fn late_library() -> Result<()> {
    let folder = certificate()?;
    let mut server = late_https_server(folder.path())?;
    let maps = || std::fs::read_to_string(format!("/proc/{}/maps", server.pid()));
    ensure!(!maps()?.contains("libssl"), "the library is loaded already");
    let probe = Probe::attach(server.pid(), &["-v"])?;
    let n_probed = || Ok::<_, anyhow::Error>(probe.stderr()?.matches("symbol=\"SSL_").count());
    ensure!(n_probed()? == 0, "{}", probe.stderr()?);
    server.release()?;
    // Read, write, the newer form of each, and the handshake.
    wait::until("the probe's look at the new library", wait::SOON, || Ok((n_probed()? == 5).then_some(())))?;
    server.wait_for_listener()?;
    let log = Client::start(&server, "TLSv1_3", &[("GET", "/first", 0, 60)])?.finish()?;
    let outcome = finish(probe, &server)?;
    outcome.report.matches_exactly(&log.sums())?;
    ensure!(encrypted(&outcome.report)?.is_none(), "{}", outcome.stdout);
    Ok(())
}

/// `probe doctor` puts its probes on the target's library for a moment, and the target never notices.
fn doctor_of_a_library() -> Result<()> {
    let folder = certificate()?;
    let server = Uvicorn::new("asyncio", "h11").with_tls(folder.path()).start()?;
    let output = Command::new(binary()?).args(["doctor", "--pid", &server.pid().to_string()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(output.status.success() && words.contains("takes probes on functions"), "{text}");
    ensure!(
        words.contains("SSL_do_handshake, SSL_read, SSL_read_ex, SSL_write, SSL_write_ex of /"),
        "{text}"
    );
    Client::start(&server, "TLSv1_3", &[("GET", "/hello", 0, 5)])?.finish()?;
    Ok(())
}

/// Of a session that is older than the attach every request since is seen, but for one that a thread awaited inside the
/// library, which is told.
fn older_session() -> Result<()> {
    let folder = certificate()?;
    for (server, n_awaited) in [
        (Uvicorn::new("asyncio", "h11").with_tls(folder.path()).start()?, 0),
        (python_https_server(folder.path())?, 1),
    ] {
        let client =
            Client::start(&server, "TLSv1_3", &[("GET", "/before", 0, 1), ("GET", "/hello", 0, 50)])?;
        server.settle()?;
        let probe = Probe::attach(server.pid(), &[])?;
        client.finish()?;
        let report = finish(probe, &server)?.report;
        report.nothing_lost()?;
        let found = report.endpoint("GET /hello")?;
        ensure!(found.requests == 50 - n_awaited, "{found:?}");
        let spots: Vec<serde_json::Value> = report.at("/health/blind_spots")?;
        let told = spots.iter().any(|spot| spot["what"] == "first requests on connections inside TLS: 1");
        ensure!(told == (n_awaited == 1), "{spots:?}");
        ensure!(encrypted(&report)?.is_none(), "a blind spot although everything was seen");
    }
    Ok(())
}

/// What cannot be read is told, with connections and every byte of cipher text; it is never "no requests".
fn without_the_library() -> Result<()> {
    let folder = certificate()?;
    let server = Uvicorn::new("asyncio", "h11").with_tls(folder.path()).start()?;
    let probe = Probe::attach(server.pid(), &["--skip", "tls"])?;
    let plan = [("GET", "/hello", 0, 20), ("GET", "/bytes/100000", 0, 1)];
    let first = Client::start(&server, "TLSv1_2", &plan)?.finish()?;
    let second = Client::start(&server, "TLSv1_3", &plan)?.finish()?;
    let outcome = finish(probe, &server)?;
    let expected = (2, first.cipher_bytes + second.cipher_bytes);
    ensure!(encrypted(&outcome.report)? == Some(expected), "expected {expected:?}:\n{}", outcome.stdout);
    ensure!(outcome.report.endpoints()?.is_empty(), "requests that nobody could read");
    Ok(())
}

/// Clients that never finish a handshake, or say they begin one and don't, hide nothing and break nothing.
fn bad_handshakes() -> Result<()> {
    let folder = certificate()?;
    let server = Uvicorn::new("uvloop", "h11").with_tls(folder.path()).start()?;
    let probe = Probe::attach(server.pid(), &[])?;
    let noise: Vec<u8> = (0..20_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    for head in
        [&b"\x16\x03\x01\xff\xff"[..], b"\x17\x03\x03\x00\x00", b"\x16\x03\x01\x00\x05", b"\x15\x03\x01"]
    {
        let mut conn = Conn::open(server.addr())?;
        // The server may have hung up before all of it was sent.
        let _hung_up = conn.send(&[head, &noise].concat());
        let mut buffer = [0; 4096];
        while conn.read(&mut buffer).is_ok_and(|n| n > 0) {}
    }
    let log = Client::start(&server, "TLSv1_3", &[("GET", "/hello", 0, 20)])?.finish()?;
    let outcome = finish(probe, &server)?;
    outcome.report.matches_exactly(&log.sums())?;
    ensure!(encrypted(&outcome.report)?.is_none(), "{}", outcome.stdout);
    Ok(())
}
