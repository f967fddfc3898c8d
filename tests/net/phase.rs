//! Conditions of the phases of a run: in force while a phase plays, proved in its report, and gone afterwards.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    probe::{Outcome, Probe},
    server::{Server, python, python_http_server},
    wait,
};
use serde_json::Value;

use crate::{Suite, bench::look};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("phase::a_condition_of_one_phase", one_phase);
    suite.add("phase::what_the_kernel_lacks_is_inconclusive", what_is_lacking);
    suite.add("phase::an_interrupt_takes_it_back", interrupt);
    suite.add("phase::a_kill_takes_it_back", kill);
}

/// Requests of each load: on their way to the server they alone are more than 16 kB.
const REQUESTS: u32 = 100;
/// The narrow link, bytes per second.
const RATE: f64 = 100_000.0;
/// What its class lets through at once after a pause, bytes.
const BURST: f64 = 3_200.0;
/// Ethernet, IP and TCP headers, and a request line.
const LEAST_REQUEST: f64 = 14.0 + 20.0 + 32.0 + 20.0;

/// A profile with a clean phase and a narrow one; each load first shows the device's queues, and last how long it took.
fn profile(folder: &tempfile::TempDir, values: &str) -> Result<String> {
    let condition = folder.path().join("narrow.toml");
    fs::write(&condition, format!("name = \"narrow\"\n{values}\n"))?;
    let python = python()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/engine/plan_load.py");
    let load = format!(
        "tc qdisc show dev lo; a=$(date +%s%N); {} {script} {{host}} {REQUESTS} 0 && echo took $(($(date +%s%N)-a))",
        python.display()
    );
    Ok(format!(
        "name = 'conditions'\n[load]\ncommand = ['sh', '-c', '{load}']\n\
         [[phase]]\nname = 'clean'\nduration = '60s'\n\
         [[phase]]\nname = 'narrow'\nduration = '60s'\nnet = '{}'\n\
         [[phase]]\nname = 'after'\nduration = '60s'\n\
         [[objective]]\nid = 'answers'\nmetric = 'requests'\ntarget = {REQUESTS}\nlimit = {REQUESTS}\n",
        condition.display()
    ))
}

fn played(values: &str) -> Result<(Outcome, Server)> {
    let folder = tempfile::tempdir()?;
    let (server, _) = python_http_server(false)?;
    let probe = Probe::play(server.pid(), &profile(&folder, values)?, &["--only", "socket"])?;
    Ok((probe.outcome(wait::SOON)?, server))
}

/// The log of a phase's load: what `tc` said, and how many seconds the requests took by the load's own clock.
fn log(outcome: &Outcome, name: &str) -> Result<(String, f64)> {
    let text = fs::read_to_string(outcome.run_dir().join(name))?;
    let took =
        text.lines().find_map(|line| line.strip_prefix("took ")).context("the load did not end well")?;
    Ok((text.clone(), took.parse::<f64>()? / 1e9))
}

fn one_phase() -> Result<()> {
    let before = look("lo")?;
    let (outcome, server) = played("rate = \"800kbit\"")?;
    ensure!(look("lo")? == before, "{before}\nbecame\n{}", look("lo")?);
    ensure!(outcome.status.code() == Some(0), "{}: {}", outcome.status, outcome.stderr);
    let report = &outcome.report;
    let judged: Vec<Value> = report.at("/objectives")?;
    ensure!(judged.iter().all(|judged| judged["verdict"] == "pass") && judged.len() == 3, "{judged:#?}");
    let phases: Vec<Value> = report.at("/phases")?;
    let names: Vec<_> = phases.iter().map(|phase| phase["name"].as_str().unwrap_or_default()).collect();
    ensure!(names == ["clean", "narrow", "after"], "{names:?}");

    let conditions: Vec<Value> = report.at("/conditions")?;
    let [found] = &conditions[..] else { anyhow::bail!("{conditions:#?}") };
    let port = server.addr().port();
    ensure!(found["phase"] == "narrow" && found["is_proved"] == true && found["device"] == "lo", "{found:#}");
    ensure!(found["scope"] == format!("port {port}"), "{found:#}");
    // Each request is a packet up and at least one down.
    ensure!(found["packets"].as_u64() >= Some(u64::from(2 * REQUESTS)), "{found:#}");
    for rate in found["rates"].as_array().context("no rates")? {
        let rate = |key: &str| rate[key].as_f64().unwrap_or_default();
        ensure!((rate("during_per_s") / RATE - 1.0).abs() < 0.05, "{found:#}");
        ensure!(rate("before_per_s") > 1.5 * RATE && rate("after_per_s") > 1.5 * RATE, "{found:#}");
    }
    ensure!(outcome.stdout.contains("narrow in narrow: proved, port"), "{}", outcome.stdout);

    // What tc and the load's own clock say of it.
    let [clean, narrow, after] = [
        log(&outcome, "load-1-clean.log")?,
        log(&outcome, "load-2-narrow.log")?,
        log(&outcome, "load-3-after.log")?,
    ];
    ensure!(
        narrow.0.contains("htb 504f:") && !clean.0.contains("htb") && !after.0.contains("htb"),
        "{}",
        narrow.0
    );
    let least = (f64::from(REQUESTS) * LEAST_REQUEST - BURST) / RATE;
    ensure!(narrow.1 >= least, "{} s, at least {least}", narrow.1);
    Ok(())
}

/// With sch_netem it is proved; without, the phase is played and says nothing.
fn what_is_lacking() -> Result<()> {
    let before = look("lo")?;
    let (outcome, _server) = played("delay = \"20ms\"")?;
    ensure!(look("lo")? == before);
    let judged: Vec<Value> = outcome.report.at("/objectives")?;
    let narrow = judged.iter().find(|judged| judged["phase"] == "narrow").context("not judged")?;
    let found: Value = outcome.report.at("/conditions/0")?;
    if found["is_proved"] == true {
        ensure!(narrow["verdict"] == "pass", "{narrow:#}");
        let (_, took) = log(&outcome, "load-2-narrow.log")?;
        // Each request waits for its answer: 20 ms there, 20 ms back.
        ensure!(took > 0.04 * f64::from(REQUESTS), "{took} s");
        return Ok(());
    }
    let reason = narrow["reason"].as_str().unwrap_or_default();
    ensure!(
        narrow["verdict"] == "inconclusive"
            && reason.contains("was not injected: this kernel lacks sch_netem")
            && outcome.stderr.contains("cannot be injected"),
        "{narrow:#} {}",
        outcome.stderr
    );
    let others = judged.iter().filter(|judged| judged["phase"] != "narrow");
    ensure!(
        others.clone().count() == 2 && { others }.all(|judged| judged["verdict"] == "pass"),
        "{judged:#?}"
    );
    Ok(())
}

/// A run whose only phase is under a condition, which is in force.
fn under_condition() -> Result<(Probe, Server)> {
    let folder = tempfile::tempdir()?;
    let condition = folder.path().join("narrow.toml");
    fs::write(&condition, "name = \"narrow\"\nrate = \"800kbit\"\n")?;
    let profile = format!(
        "name = 'conditions'\n[[phase]]\nname = 'narrow'\nduration = '1h'\nload = ['sleep', '3600']\nnet = '{}'\n",
        condition.display()
    );
    let (server, _) = python_http_server(false)?;
    let probe = Probe::play(server.pid(), &profile, &["--only", "socket"])?;
    wait::until("the phase", wait::SOON, || Ok(probe.stderr()?.contains("phase 1 of 1").then_some(())))?;
    ensure!(look("lo")?.contains("504f:"), "not in force: {}", look("lo")?);
    Ok((probe, server))
}

fn interrupt() -> Result<()> {
    let before = look("lo")?;
    let (probe, _server) = under_condition()?;
    let outcome = probe.finish()?;
    ensure!(look("lo")? == before, "{before}\nbecame\n{}", look("lo")?);
    let found: Value = outcome.report.at("/conditions/0")?;
    // In force, measured, and met by nobody.
    let problems = found["problems"].to_string();
    ensure!(found["is_proved"] == false && problems.contains("no packet matched"), "{found:#}");
    ensure!(found["rates"][0]["after_per_s"].as_f64() > Some(1.5 * RATE), "{found:#}");
    Ok(())
}

fn kill() -> Result<()> {
    let before = look("lo")?;
    let (mut probe, _server) = under_condition()?;
    probe.signal(Signal::SIGKILL)?;
    probe.wait_for_end(wait::SOON)?;
    wait::until("the guard", wait::SOON, || Ok((look("lo")? == before).then_some(())))
}
