//! What most trials do: attach, send, let the server come to rest, interrupt, compare.

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    capture::Capture,
    client::Request,
    host,
    load::{Load, Log},
    probe::{Outcome, Probe},
    report::{Dist, Report},
    say::say,
    server::Server,
    stats::{Tolerance, WIRE, percentile},
    wait,
    wire::Wire,
};

/// Two endpoints, four spellings.
pub(crate) fn mix() -> Vec<Request> {
    vec![
        Request::get("/hello"),
        Request::get_as("GET /items/{id}", "/items/7"),
        Request::get("/hello?token=secret"),
        Request::get_as("GET /items/{id}", "/items/123456"),
    ]
}

/// Interrupts the probe once the server has done everything that the traffic so far asked of it.
pub(crate) fn finish(probe: Probe, server: &Server) -> Result<Outcome> {
    server.settle()?;
    probe.finish()
}

/// A load under the probe, its report compared with the client's sums.
pub(crate) fn exact(server: &Server, load: &Load) -> Result<(Outcome, Log)> {
    let probe = Probe::attach(server.pid(), &[])?;
    let log = load.run()?;
    let outcome = finish(probe, server)?;
    outcome.report.matches_exactly(&log.sums())?;
    Ok((outcome, log))
}

/// The same beside a packet capture.
pub(crate) fn captured(server: &Server, load: &Load) -> Result<(Outcome, Log, Wire)> {
    let capture = Capture::start(server.addr().port())?;
    let (outcome, log) = exact(server, load)?;
    let wire = capture.finish()?;
    ensure!(
        wire.exchanges.len() == log.entries.len() && wire.connections == log.connections,
        "the capture has {} requests on {} connections, the client {} on {}",
        wire.exchanges.len(),
        wire.connections,
        log.entries.len(),
        log.connections
    );
    Ok((outcome, log, wire))
}

/// A percentile's name, its share, and where a report has it.
type Percentile = (&'static str, f64, fn(&Dist) -> Option<f64>);
const PERCENTILES: [Percentile; 3] =
    [("p50", 0.50, |dist| dist.p50), ("p95", 0.95, |dist| dist.p95), ("p99", 0.99, |dist| dist.p99)];

/// Compares p50, p95 and p99 of an endpoint with the wire, and prints both. On the first request of a
/// connection the definition starts the clock at the handshake where the request came before accept, and at
/// the request's first byte where it came later; the wire does not know of accept, so the truth lies between.
pub(crate) fn agrees_with_wire(label: &str, report: &Report, wire: &Wire, names: (&str, &str)) -> Result<()> {
    let (endpoint, on_wire) = names;
    let got = report.endpoint(endpoint)?.latency_s;
    let (low, high) = (wire.latencies(on_wire), wire.latencies_from_handshake(on_wire));
    ensure!(got.count == low.len() as u64, "{label}: {} timed, {} on the wire", got.count, low.len());
    let mut numbers = Vec::new();
    let mut wrong = Vec::new();
    for (name, share, of) in PERCENTILES {
        let value = of(&got).with_context(|| format!("{label}: no {name}"))?;
        let (low, high) = (percentile(&low, share), percentile(&high, share));
        numbers.push(format!("{name} {}", between(low, high, value)));
        if (value < low - WIRE.around(low) || value > high + WIRE.around(high)) && !host::is_emulated() {
            wrong.push(format!("{name} of {endpoint}: wire and probe {}", between(low, high, value)));
        }
    }
    let max = got.largest()?;
    let ends = (low[low.len() - 1], high[high.len() - 1]);
    numbers.push(format!("max {}", between(ends.0, ends.1, max)));
    say(&format!("    {label}, {endpoint}, wire / probe: {}", numbers.join(", ")));
    ensure!(wrong.is_empty(), "{label}: {}", wrong.join("; "));
    Ok(())
}

fn between(low: f64, high: f64, got: f64) -> String {
    format!("{:.3}..{:.3} / {:.3} ms", low * 1e3, high * 1e3, got * 1e3)
}

/// Compares one value, and prints both.
pub(crate) fn agrees(label: &str, tolerance: Tolerance, expected: f64, got: Option<f64>) -> Result<()> {
    let got = got.with_context(|| format!("{label}: the report has no value"))?;
    say(&format!("    {label:<42} expected {:.3} ms, got {:.3} ms", expected * 1e3, got * 1e3));
    tolerance.agree(label, expected, got)
}

/// The call in which Python's `time.sleep` waits.
#[cfg(target_arch = "x86_64")]
pub(crate) const CLOCK_NANOSLEEP: u64 = 230;
/// The call in which Python's `time.sleep` waits.
#[cfg(target_arch = "aarch64")]
pub(crate) const CLOCK_NANOSLEEP: u64 = 115;

/// Waits until the loop's thread sits in a blocking sleep.
pub(crate) fn until_blocked(server: &Server) -> Result<()> {
    wait::until("a blocked loop", wait::SOON, || {
        Ok((host::sleeping_in(server.pid()) == Some(CLOCK_NANOSLEEP)).then_some(()))
    })
}
