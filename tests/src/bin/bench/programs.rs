//! Runs and time of each kernel program by the kernel's own statistics, at 2000 requests per second. Unlike the CPU time of a
//! server, which moves with whatever else the machine does, this is counted: it tells a change of a hundredth.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use probe_tests::{client::Request, host, load::Load, probe::Probe, server::Uvicorn};

use crate::{
    apart::apart,
    empty::Empty,
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
    let (mut all, mut other, mut shares, mut counting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let cpu_us = window(server, &load, BOUND, None)?.cpu_us();
        let counting_ns = counting_ns(&load)?;
        let per_request = |ran: &Runs| total_ns(ran, counting_ns) / 1e3 / load.requests as f64;
        let other_us = per_request(&during(idle.pid(), &load)?);
        let ran = during(server.pid(), &load)?;
        let all_us = per_request(&ran);
        counting.push(counting_ns);
        other.push(other_us);
        all.push(all_us);
        // The kernel does not say in which process a program ran. In the server it was at least what tracing it adds, and
        // at most all; the interval of both holds the truth.
        shares.extend([all_us - other_us, all_us].map(|us| us / cpu_us * 100.0));
        for (name, (count, ns)) in ran {
            each.entry(name.clone()).or_default().push(ns as f64 / count as f64 - counting_ns);
            of_request.entry(name).or_default().push(count as f64 / load.requests as f64);
        }
    }
    let mut figures = vec![
        Figure::of("all", "us per request", &all),
        Figure::of("all, another process traced", "us per request", &other),
        Figure::of("an empty run, taken off each", "ns", &counting),
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
    let ran = counted(&probe.programs()?, load)?;
    probe.finish()?;
    Ok(ran)
}

/// What the kernel's own reading of the clock adds to each run: what it says of programs that do nothing.
fn counting_ns(load: &Load) -> Result<f64> {
    let empty = Empty::attach()?;
    let ran = counted(&host::programs_of(std::process::id())?, load)?;
    drop(empty);
    let runs: u64 = ran.values().map(|(count, _)| count).sum();
    Ok(total_ns(&ran, 0.0) / runs as f64)
}

/// Runs of these programs while a load is sent.
fn counted(programs: &BTreeSet<u32>, load: &Load) -> Result<Runs> {
    let _counting = enable_stats(Stats::RunTime).context("failed to let the kernel count")?;
    let before = runs(programs)?;
    load.run()?;
    let mut ran = runs(programs)?;
    for (name, (count, ns)) in &mut ran {
        let (count_before, ns_before) = before.get(name).copied().unwrap_or_default();
        (*count, *ns) = (*count - count_before, *ns - ns_before);
    }
    ran.retain(|_, (count, _)| *count > 0);
    Ok(ran)
}

/// All of these runs, less what counting each of them took.
fn total_ns(runs: &Runs, counting_ns: f64) -> f64 {
    runs.values().map(|(count, ns)| *ns as f64 - *count as f64 * counting_ns).sum()
}

fn runs(ours: &BTreeSet<u32>) -> Result<Runs> {
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
