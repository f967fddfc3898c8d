//! What the traced application pays per request, and what the agent pays: FastAPI on uvloop, a near-empty endpoint, at fixed
//! rates and as fast as it can.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use probe_tests::{
    client::Request,
    load::{Load, Log},
    probe::Probe,
    report::Report,
    server::{Server, Uvicorn},
    stats::{percentile, sorted},
};

use crate::figure::Figure;

/// Requests per second and connections; what no budget speaks of is there to be known.
const RATES: [(f64, usize); 2] = [(500.0, 4), (2000.0, 8)];
/// The connections that it is as fast as it can with.
const MOST: usize = 16;
/// The share of that rate which is a fixed one too.
const BUSY: f64 = 0.8;
/// How long each measurement takes.
const SECONDS: f64 = 4.0;

/// One load, off and on in turn.
#[derive(Default)]
pub(crate) struct Measured {
    off: Vec<Sample>,
    on: Vec<Sample>,
    reports: Vec<Report>,
}

#[derive(Clone, Copy)]
struct Sample {
    rate_per_s: f64,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// CPU time of a process's threads, nanoseconds: the first number of /proc/PID/task/TID/schedstat.
pub(crate) fn cpu_ns(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).context("no schedstat")?;
    }
    Ok(sum)
}

fn sample(server: &Server, load: &Load) -> Result<Sample> {
    let before = cpu_ns(server.pid())?;
    let log = load.run()?;
    let cpu_us = (cpu_ns(server.pid())? - before) / 1e3 / log.entries.len() as f64;
    let latencies = sorted(log.entries.iter().map(probe_tests::client::Entry::latency_s));
    Ok(Sample {
        rate_per_s: log.rate(),
        cpu_us,
        p50_ms: percentile(&latencies, 0.5) * 1e3,
        p99_ms: percentile(&latencies, 0.99) * 1e3,
    })
}

pub(crate) fn compare(server: &Server, load: &Load, rounds: usize) -> Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..rounds {
        measured.off.push(sample(server, load)?);
        let probe = Probe::attach(server.pid(), &[])?;
        measured.on.push(sample(server, load)?);
        measured.reports.push(probe.finish()?.report);
    }
    Ok(measured)
}

/// A load of about this rate: how long each connection has to pause is found by trying.
pub(crate) fn at_rate(load: &Load, connections: usize, per_s: f64) -> Result<Load> {
    let every = connections as f64 / per_s;
    let mut pause = every;
    let load = Load { connections, requests: requests(per_s), ..load.clone() };
    for _ in 0..2 {
        let took = connections as f64 / load.clone().thinking(seconds(pause)).run()?.rate();
        pause += every - took;
    }
    Ok(load.thinking(seconds(pause)))
}

fn seconds(pause: f64) -> Duration {
    Duration::try_from_secs_f64(pause).unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^53"
)]
pub(crate) fn requests(per_s: f64) -> usize {
    (per_s * SECONDS) as usize
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let hello = Load::fast(server.addr(), MOST, requests(2000.0), vec![Request::get("/hello")]);
    // Warms up as well: imports, caches, the branch predictor.
    hello.run()?;
    let most = Log::rate(&hello.run()?);
    let fastest = Load { requests: requests(most), ..hello.clone() };
    let mut figures = Vec::new();
    for (per_s, connections) in RATES {
        let load = at_rate(&hello, connections, per_s)?;
        let measured = compare(&server, &load, rounds)?;
        figures.extend(paid(&format!("{per_s}/s"), &measured, (per_s - 2000.0).abs() < 1.0));
    }
    let busy = at_rate(&hello, MOST, most * BUSY)?;
    figures.extend(paid("80 %", &compare(&server, &busy, rounds)?, false));
    let measured = compare(&server, &fastest, rounds)?;
    figures.extend(paid("most", &measured, false));
    figures.push(health("most: lost", "events", &measured.reports, "lost", 1.0).within(0.0));
    let all = |name, unit, field, factor| health(name, unit, &measured.reports, field, factor);
    figures.push(all("attach", "ms", "attach_s", 1e3).within(500.0));
    for figure in &mut figures {
        "requests".clone_into(&mut figure.part);
    }
    Ok(figures)
}

/// What the application and the agent pay under one load; `is_bound` where the budgets are about it.
fn paid(load: &str, measured: &Measured, is_bound: bool) -> Vec<Figure> {
    let pairs = |what: &str, unit: &str, of: fn(&Sample) -> f64, budget: Option<f64>| {
        let values = |samples: &[Sample]| samples.iter().map(of).collect::<Vec<f64>>();
        let figure =
            Figure::pairs(format!("{load}: {what}"), unit, &values(&measured.off), &values(&measured.on));
        Figure { budget: budget.filter(|_| is_bound), ..figure }
    };
    let share = |what: &str, field: &str| {
        health(format!("{load}: {what}"), "% of a core", &measured.reports, field, 100.0)
    };
    vec![
        pairs("rate", "per s", |sample| sample.rate_per_s, None),
        pairs("CPU per request", "us", |sample| sample.cpu_us, Some(0.02)),
        pairs("p50", "ms", |sample| sample.p50_ms, None),
        pairs("p99", "ms", |sample| sample.p99_ms, Some(0.03)),
        share("kernel programs", "bpf_cpu_ratio"),
        share("agent", "agent_cpu_ratio"),
    ]
}

/// A figure of what the reports say of their runs' own cost.
pub(crate) fn health(
    name: impl Into<String>,
    unit: &str,
    reports: &[Report],
    field: &str,
    factor: f64,
) -> Figure {
    let values = reports.iter().filter_map(|report| report.at::<f64>(&format!("/health/{field}")).ok());
    Figure::of(name, unit, &values.map(|value| value * factor).collect::<Vec<f64>>())
}
