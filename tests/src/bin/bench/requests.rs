//! What the traced application pays per request, and what the agent pays: FastAPI on uvloop, a near-empty endpoint, at fixed
//! rates and as fast as it can.

use std::time::Duration;

use anyhow::Result;
use probe_tests::{
    client::Request,
    load::{Load, Log},
    report::Report,
    server::Uvicorn,
};

use crate::{
    apart::apart,
    figure::Figure,
    window::{Measured, Window, compare, requests},
};

/// Requests per second and connections, and how many turns make a round: many at the rate that the budgets are about.
/// What no budget speaks of is there to be known.
const RATES: [(f64, usize, usize); 3] = [(500.0, 4, 1), (BOUND, 8, 4), (HIGH, 16, 1)];
/// The rate of what the application may pay, and that of what the agent may.
pub(crate) const BOUND: f64 = 2000.0;
const HIGH: f64 = 5000.0;
/// The connections that it is as fast as it can with.
const MOST: usize = 16;
/// The share of that rate which is a fixed one too, and the most that another fixed rate may be of it.
const BUSY: f64 = 0.8;
const REACHED: f64 = 0.9;
/// For how long a rate is tried.
const SECONDS: f64 = 4.0;

/// A load of about this rate: how long each connection has to pause is found by trying.
pub(crate) fn at_rate(load: &Load, connections: usize, per_s: f64) -> Result<Load> {
    let every = connections as f64 / per_s;
    let mut pause = every;
    let load = Load { connections, requests: requests(per_s, SECONDS), ..load.clone() };
    for _ in 0..2 {
        let took = connections as f64 / load.clone().thinking(seconds(pause)).run()?.rate();
        pause += every - took;
    }
    Ok(load.thinking(seconds(pause)))
}

fn seconds(pause: f64) -> Duration {
    Duration::try_from_secs_f64(pause).unwrap_or_default()
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let apart = apart(|| Uvicorn::new("uvloop", "httptools").start())?;
    let server = &apart.server;
    let hello = Load::fast(server.addr(), MOST, requests(BOUND, SECONDS), vec![Request::get("/hello")]);
    // Warms up as well: imports, caches, the branch predictor.
    hello.run()?;
    let most = Log::rate(&hello.run()?);
    let mut figures = Vec::new();
    for (per_s, connections, turns) in RATES {
        if per_s > most * REACHED {
            println!("requests: {per_s:.0}/s is not measured, the most here is {most:.0}/s");
            continue;
        }
        let load = at_rate(&hello, connections, per_s)?;
        figures.extend(paid(&format!("{per_s}/s"), &compare(server, &load, per_s, rounds * turns)?, per_s));
    }
    let busy = at_rate(&hello, MOST, most * BUSY)?;
    figures.extend(paid("80 %", &compare(server, &busy, most * BUSY, rounds)?, most * BUSY));
    let measured = compare(server, &hello, most, rounds)?;
    figures.extend(paid("most", &measured, most));
    figures.push(health("most: lost", "events", &measured.reports, "lost", 1.0).within(0.0));
    figures.push(memory("most: memory", &measured.reports));
    figures.push(health("attach", "ms", &measured.reports, "attach_s", 1e3).within(500.0));
    for figure in &mut figures {
        "requests".clone_into(&mut figure.part);
    }
    Ok(figures)
}

/// What the application and the agent pay under one load.
fn paid(load: &str, measured: &Measured, per_s: f64) -> Vec<Figure> {
    let is = |rate: f64| (per_s - rate).abs() < 1.0;
    let pairs = |what: &str, unit: &str, of: &dyn Fn(&Window) -> f64, budget: Option<f64>| {
        let values = |windows: &[Window]| windows.iter().map(of).collect::<Vec<f64>>();
        let figure =
            Figure::pairs(format!("{load}: {what}"), unit, &values(&measured.off), &values(&measured.on));
        Figure { budget: budget.filter(|_| is(BOUND)), ..figure }
    };
    let agent: Vec<f64> = measured.on.iter().map(Window::agent_percent).collect();
    let agent = Figure::of(format!("{load}: agent"), "% of a core", &agent);
    vec![
        pairs("rate", "per s", &Window::rate_per_s, None),
        pairs("CPU per request", "us", &Window::cpu_us, Some(0.02)),
        pairs("p50", "ms", &|window| window.latency_ms(0.5), None),
        pairs("p99", "ms", &|window| window.latency_ms(0.99), Some(0.03)),
        health(format!("{load}: kernel programs"), "% of a core", &measured.reports, "bpf_cpu_ratio", 100.0),
        Figure { budget: is(HIGH).then_some(2.0), ..agent },
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

/// The agent's memory, and the budget that it has under every load.
pub(crate) fn memory(name: impl Into<String>, reports: &[Report]) -> Figure {
    health(name, "MiB", reports, "agent_rss_bytes", 1.0 / 1024.0 / 1024.0).within(64.0)
}
