//! What the GPU did while requests were in the application, by a cause that is known.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    fake_gpu::{FakeGpu, gpu},
    locks::Hands,
    server::Uvicorn,
    wait,
};
use serde_json::{Value, json};

use crate::{Suite, add, watch::finish};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, busy_while_one_endpoint_works, busy_while_one_stage_runs);
}

/// The GPU is busy exactly while requests of one endpoint are in the application, and idle while those of the other
/// are: their shares are all and nothing.
fn busy_while_one_endpoint_works() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let switch = folder.path().join("busy");
    let mut gpu = gpu();
    gpu["busy"] = json!({ "period_ms": 10, "while": switch });
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let server = Uvicorn::new("asyncio", "h11").start()?;
    let probe = fake.attach(server.pid(), &[])?;
    let mut conn = Conn::open(server.addr())?;
    for _round in 0..3 {
        fs::write(&switch, "")?;
        settled(&fake, 100)?;
        conn.exchange(&Request::get("/block?ms=100"))?;
        // What the driver says of the end of the request comes after it.
        settled(&fake, 100)?;
        remove(&switch)?;
        settled(&fake, 0)?;
        conn.exchange(&Request::get("/sleep?ms=100"))?;
        settled(&fake, 0)?;
    }
    let report = finish(probe, &server)?.report;
    let endpoints: Vec<Value> = report.at("/gpu/0/endpoints")?;
    for (name, expected) in [("GET /block", 1.0), ("GET /sleep", 0.0)] {
        let found = endpoints.iter().find(|overlap| overlap["endpoint"] == name);
        let overlap = found.with_context(|| format!("no {name} in {endpoints:?}"))?;
        ensure!(overlap["requests"] == 3, "{overlap}");
        let util = overlap["util"].as_f64().context("no share")?;
        ensure!((util - expected).abs() < 1e-9, "{name}: {util}");
        let covered = overlap["covered_s"].as_f64().context("no time")?;
        let in_app: probe_tests::report::Dist = report.endpoint(name)?.breakdown.app_s;
        ensure!((covered - in_app.total()).abs() < 1e-3, "{name}: {covered} of {} s", in_app.total());
        ensure!(overlap["memory_bytes"] == 200u64 << 20, "{overlap}");
    }
    Ok(())
}

/// The same for stages: the GPU is busy all of the time of one, and idle in that of the other.
fn busy_while_one_stage_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let switch = folder.path().join("busy");
    let mut busy = gpu();
    busy["busy"] = json!({ "period_ms": 10, "while": switch });
    // A second one that is never busy: the share is that of the busiest.
    let mut idle = gpu();
    idle["uuid"] = json!("GPU-22222222-3333");
    idle["busy"] = json!({ "period_ms": 10, "percents": [0] });
    let fake = FakeGpu::new(&[busy, idle], json!({}))?;
    let mut hands = Hands::start()?;
    // It must run before the attach, or its threads' start would be part of a stage.
    hands.ask("a", "sleep", &json!({"ms": 1}))?;
    let probe = fake.attach(hands.pid(), &[])?;
    for doc in ["one", "two", "three"] {
        for (stage, percent) in [("recognize", 100), ("export", 0)] {
            if percent > 0 {
                fs::write(&switch, "")?;
            }
            settled(&fake, percent)?;
            hands.mark("a", stage, doc, "begin")?;
            hands.ask("a", "sleep", &json!({"ms": 100}))?;
            hands.mark("a", stage, doc, "end")?;
            settled(&fake, percent)?;
            if percent > 0 {
                remove(&switch)?;
            }
        }
    }
    let outcome = probe.finish()?;
    outcome.report.nothing_lost()?;
    let stages: Vec<Value> = outcome.report.at("/stages")?;
    for (name, expected) in [("recognize", 1.0), ("export", 0.0)] {
        let stage = stages.iter().find(|stage| stage["stage"] == name).context("no such stage")?;
        ensure!(stage["documents"] == 3, "{stage}");
        let share = |of: &str| stage["shares"][of].as_f64().with_context(|| format!("no {of} in {stage}"));
        ensure!((share("gpu_busy")? - expected).abs() < 1e-9, "{stage}");
        let rest = (1.0 - expected - share("file_io")?).max(0.0);
        ensure!((share("other")? - rest).abs() < 1e-9 && share("file_io")? < 0.1, "{stage}");
    }
    Ok(())
}

/// Waits until the driver has told several samples from now on, and these are so many percent.
pub(super) fn settled(fake: &FakeGpu, percent: u64) -> Result<()> {
    const SAMPLES: usize = 12;
    let before = fake.samples(0)?.len();
    wait::until("samples of the driver", wait::SOON, || {
        let samples = fake.samples(0)?;
        let new = &samples[before..];
        Ok((new.len() >= SAMPLES && new.iter().rev().take(SAMPLES).all(|(told, _)| *told == percent))
            .then_some(()))
    })
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).context("failed to turn the fake GPU idle")
}
