//! Runs and time of each kernel program by the kernel's own statistics, at 2000 requests per second. Unlike the CPU time of a
//! server, which moves with whatever else the machine does, this is counted: it tells a change of a hundredth.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use probe_tests::{client::Request, load::Load, probe::Probe, server::Uvicorn};

use crate::{
    apart::apart,
    figure::Figure,
    repeat::Repeat,
    requests::{BOUND, at_rate},
    window::window,
};

/// By name: runs, and nanoseconds in them.
type Runs = BTreeMap<String, (u64, u64)>;

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let apart = apart(|| Uvicorn::new("uvloop", "httptools").start())?;
    let server = &apart.server;
    let idle = Repeat::start("calls/file")?;
    let load = at_rate(&Load::fast(server.addr(), 8, 1, vec![Request::get("/hello")]), 8, BOUND)?;
    let (mut each, mut of_request) = (BTreeMap::<_, Vec<f64>>::new(), BTreeMap::<_, Vec<f64>>::new());
    let (mut all, mut other, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let cpu_us = window(server, &load, BOUND, None)?.cpu_us();
        let per_request = |ns: u64| ns as f64 / 1e3 / load.requests as f64;
        let other_us = per_request(total_ns(&during(idle.pid(), &load)?));
        let ran = during(server.pid(), &load)?;
        let all_us = per_request(total_ns(&ran));
        other.push(other_us);
        all.push(all_us);
        // The kernel does not say in which process a program ran. In the server it was at least what tracing it adds, and
        // at most all; the interval of both holds the truth.
        shares.extend([all_us - other_us, all_us].map(|us| us / cpu_us * 100.0));
        for (name, (count, ns)) in ran {
            each.entry(name.clone()).or_default().push(ns as f64 / count as f64);
            of_request.entry(name).or_default().push(count as f64 / load.requests as f64);
        }
    }
    let mut figures = vec![
        Figure::of("all", "us per request", &all),
        Figure::of("all, another process traced", "us per request", &other),
        Figure::of("those in the server, of its CPU time", "%", &shares).within(2.0),
    ];
    for (name, ns) in &each {
        let ran = Figure::of(format!("{name}: a run"), "ns", ns);
        let runs = Figure::of(format!("{name}: runs"), "per request", &of_request[name]);
        figures.extend([ran, runs].map(|figure| Figure { is_detail: true, ..figure }));
    }
    Ok(figures.into_iter().map(|figure| Figure { part: "programs".to_owned(), ..figure }).collect())
}

/// What the programs do while a process is traced and a load is sent.
fn during(pid: u32, load: &Load) -> Result<Runs> {
    let probe = Probe::attach(pid, &[])?;
    let _counting = enable_stats(Stats::RunTime).context("failed to let the kernel count")?;
    let before = runs(&probe)?;
    load.run()?;
    let mut ran = runs(&probe)?;
    for (name, (count, ns)) in &mut ran {
        let (count_before, ns_before) = before.get(name).copied().unwrap_or_default();
        (*count, *ns) = (*count - count_before, *ns - ns_before);
    }
    ran.retain(|_, (count, _)| *count > 0);
    probe.finish()?;
    Ok(ran)
}

fn total_ns(runs: &Runs) -> u64 {
    runs.values().map(|(_, ns)| ns).sum()
}

fn runs(probe: &Probe) -> Result<Runs> {
    let ours = probe.programs()?;
    let mut runs = Runs::new();
    for program in loaded_programs() {
        let program = program.context("failed to list the kernel's programs")?;
        if ours.contains(&program.id()) {
            let name = program.name_as_str().unwrap_or("?").to_owned();
            let (count, ns) = runs.entry(name).or_default();
            *count += program.run_count();
            *ns += u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
        }
    }
    Ok(runs)
}
