//! What the traced application pays per request, and what the agent pays: FastAPI on uvloop, a near-empty endpoint.

use std::{fmt::Write as _, fs, time::Duration};

use anyhow::{Context as _, Result};
use probe_tests::{
    client::Request,
    load::Load,
    probe::Probe,
    server::{Server, Uvicorn},
    stats::{percentile, sorted},
};
use serde::Serialize;

use crate::median;

/// Name, connections, pause between a response and the next request, requests.
const LOADS: [(&str, usize, Duration, usize); 3] = [
    ("500/s", 4, Duration::from_millis(8), 2_000),
    ("2000/s", 8, Duration::from_micros(3_600), 8_000),
    ("as fast as it can", 16, Duration::ZERO, 20_000),
];

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    load: &'static str,
    rate_off_per_s: f64,
    rate_on_per_s: f64,
    cpu_off_us: f64,
    cpu_on_us: f64,
    p50_off_ms: f64,
    p50_on_ms: f64,
    p99_off_ms: f64,
    p99_on_ms: f64,
    bpf_cpu_ratio: f64,
    agent_cpu_ratio: f64,
    agent_rss_mib: f64,
    attach_ms: f64,
    lost: u64,
}

#[derive(Clone, Copy, Default)]
struct Sample {
    rate_per_s: f64,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// CPU time of a process's threads, nanoseconds: the first number of /proc/PID/task/TID/schedstat.
fn cpu_ns(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).context("no schedstat")?;
    }
    Ok(sum)
}

fn run(server: &Server, load: &Load) -> Result<Sample> {
    let before = cpu_ns(server.pid())?;
    let log = load.run()?;
    let cpu_us = (cpu_ns(server.pid())? - before) / 1e3 / log.entries.len() as f64;
    let latencies = sorted(log.latencies("GET /hello"));
    Ok(Sample {
        rate_per_s: log.rate(),
        cpu_us,
        p50_ms: percentile(&latencies, 0.5) * 1e3,
        p99_ms: percentile(&latencies, 0.99) * 1e3,
    })
}

/// Off and on in turn, on one server.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Row>> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let mut rows = Vec::new();
    for (name, connections, think, requests) in LOADS {
        let load =
            Load::fast(server.addr(), connections, requests, vec![Request::get("/hello")]).thinking(think);
        run(&server, &load)?; // Warms up: imports, caches, the branch predictor.
        let (mut off, mut on, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            eprintln!("{name}: round {round} of {rounds}");
            off.push(run(&server, &load)?);
            let probe = Probe::attach(server.pid(), &[])?;
            on.push(run(&server, &load)?);
            reports.push(probe.finish()?.report);
        }
        let of = |samples: &[Sample], value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        let health = |name: &str| -> Result<f64> {
            let values: Result<Vec<Option<f64>>> =
                reports.iter().map(|report| report.at(&format!("/health/{name}"))).collect();
            Ok(median(values?.into_iter().flatten().collect()))
        };
        rows.push(Row {
            load: name,
            rate_off_per_s: of(&off, |sample| sample.rate_per_s),
            rate_on_per_s: of(&on, |sample| sample.rate_per_s),
            cpu_off_us: of(&off, |sample| sample.cpu_us),
            cpu_on_us: of(&on, |sample| sample.cpu_us),
            p50_off_ms: of(&off, |sample| sample.p50_ms),
            p50_on_ms: of(&on, |sample| sample.p50_ms),
            p99_off_ms: of(&off, |sample| sample.p99_ms),
            p99_on_ms: of(&on, |sample| sample.p99_ms),
            bpf_cpu_ratio: health("bpf_cpu_ratio")?,
            agent_cpu_ratio: health("agent_cpu_ratio")?,
            agent_rss_mib: health("agent_rss_bytes")? / 1024.0 / 1024.0,
            attach_ms: health("attach_s")? * 1e3,
            lost: reports.iter().map(|report| report.at::<u64>("/health/lost")).sum::<Result<u64>>()?,
        });
    }
    Ok(rows)
}

/// For people.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "FastAPI on uvloop, GET /hello            off        on\n".to_owned();
    for row in rows {
        let _ = writeln!(text, "{}", row.load);
        for (what, off, on) in [
            ("requests per second", row.rate_off_per_s, row.rate_on_per_s),
            ("CPU per request, us", row.cpu_off_us, row.cpu_on_us),
            ("p50, ms", row.p50_off_ms, row.p50_on_ms),
            ("p99, ms", row.p99_off_ms, row.p99_on_ms),
        ] {
            let change = if off > 0.0 { (on / off - 1.0) * 100.0 } else { 0.0 };
            let _ = writeln!(text, "  {what:<32} {off:>9.3} {on:>9.3}  {change:>+6.1} %");
        }
        let _ = writeln!(
            text,
            "  kernel programs {:.2} %, agent {:.2} % of a core, agent memory {:.0} MiB,\n  attach {:.0} ms, {} lost",
            row.bpf_cpu_ratio * 100.0,
            row.agent_cpu_ratio * 100.0,
            row.agent_rss_mib,
            row.attach_ms,
            row.lost
        );
    }
    text
}
