//! Runs and time of each kernel program by the kernel's own statistics, at 2000 requests per second.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use probe_tests::{client::Request, load::Load, probe::Probe, server::Uvicorn};

use crate::{figure::Figure, requests::at_rate};

/// By name: runs, and nanoseconds in them.
type Runs = BTreeMap<String, (u64, u64)>;

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let load = at_rate(&Load::fast(server.addr(), 8, 1, vec![Request::get("/hello")]), 8, 2000.0)?;
    let _counting = enable_stats(Stats::RunTime).context("failed to let the kernel count")?;
    let (mut each, mut of_request) = (BTreeMap::<_, Vec<f64>>::new(), BTreeMap::<_, Vec<f64>>::new());
    for _ in 0..rounds {
        let probe = Probe::attach(server.pid(), &[])?;
        let before = runs(&probe)?;
        load.run()?;
        for (name, (count, ns)) in runs(&probe)? {
            let (count_before, ns_before) = before.get(&name).copied().unwrap_or_default();
            let (count, ns) = (count - count_before, ns - ns_before);
            if count > 0 {
                each.entry(name.clone()).or_default().push(ns as f64 / count as f64);
                of_request.entry(name).or_default().push(count as f64 / load.requests as f64);
            }
        }
        probe.finish()?;
    }
    let ran = each.iter().map(|(name, values)| Figure::of(format!("{name}: a run"), "ns", values));
    let often =
        of_request.iter().map(|(name, values)| Figure::of(format!("{name}: runs"), "per request", values));
    Ok(ran.chain(often).map(|figure| Figure { part: "programs".to_owned(), ..figure }).collect())
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
