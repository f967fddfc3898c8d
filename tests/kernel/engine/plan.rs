//! Runs with phases: each with exactly the requests of its own load, and no load left behind.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    client::{Conn, Request},
    host,
    probe::{Outcome, Probe, binary},
    server::{Server, Uvicorn, python},
    wait,
};
use serde_json::Value;

use crate::{Suite, add, add_timed, watch::finish};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        loads_that_fail,
        load_that_overruns,
        interrupt_ends_the_load,
        killed_probe_takes_its_load_along,
        marks_begin_phases,
    );
    // An emulated machine saturates the load.
    add_timed!(suite, phases_with_their_load);
}

/// A profile whose loads are `plan_load.py` with the exit code of each phase.
fn profile(phases: &str) -> Result<String> {
    let python = python()?;
    let python = python.display();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel/engine/plan_load.py");
    Ok(format!(
        "name = 'plan'\n\
         [load]\ncommand = ['{python}', '{script}', '{{host}}', '{{requests}}', '{{code}}']\nok_exit_codes = [0, 3]\n\
         {phases}\n\
         [[objective]]\nid = 'answers'\nmetric = 'requests'\ntarget = 70\nlimit = 70\n"
    ))
}

fn server() -> Result<Server> {
    Uvicorn::new("uvloop", "httptools").start()
}

/// A server, and a run that ended by itself.
fn played(phases: &str) -> Result<Outcome> {
    let server = server()?;
    Probe::play(server.pid(), &profile(phases)?, &["--record"])?.outcome(wait::SOON)
}

/// Phase, value, verdict, reason.
type Judged = (String, Option<f64>, String, String);

fn judgements(outcome: &Outcome) -> Result<Vec<Judged>> {
    let judgements: Vec<Value> = outcome.report.at("/objectives")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(judgements
        .iter()
        .map(|judged| {
            (
                text(&judged["phase"]),
                judged["value"].as_f64(),
                text(&judged["verdict"]),
                text(&judged["reason"]),
            )
        })
        .collect())
}

/// Each phase has its own requests to the last one, only judged ones are judged, and a phase without load is as long as
/// it is said to be.
fn phases_with_their_load() -> Result<()> {
    let outcome = played(
        "[[phase]]\nname = 'warm-up'\nduration = '9s'\njudged = false\nvars = { requests = 31, code = 0 }\n\
         [[phase]]\nname = 'peak'\nduration = '9s'\nvars = { requests = 70, code = 3 }\n\
         [[phase]]\nname = 'after'\nduration = '300ms'\njudged = false\nload = ['sleep', '0']\n",
    )?;
    ensure!(outcome.status.code() == Some(0), "{}: {}", outcome.status, outcome.stderr);
    let endpoints: Vec<Value> = outcome.report.at("/endpoints")?;
    let counts: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            (endpoint["phase"].as_str(), endpoint["endpoint"].as_str(), endpoint["requests"].as_u64())
        })
        .collect();
    let items = Some("GET /items/{id}");
    ensure!(counts == [(Some("warm-up"), items, Some(31)), (Some("peak"), items, Some(70))], "{counts:?}");
    ensure!(outcome.report.at::<u64>("/overall/requests")? == 101);
    let judged = judgements(&outcome)?;
    ensure!(judged == [("peak".to_owned(), Some(70.0), "pass".to_owned(), String::new())], "{judged:?}");
    let loads: Vec<Value> = outcome.report.at("/phases")?;
    ensure!(loads.iter().all(|phase| phase["load"]["outcome"]["ok"].is_object()), "{loads:?}");
    outcome.report.nothing_lost()
}

/// What a failing load measured says nothing, whatever it looks like.
fn loads_that_fail() -> Result<()> {
    let outcome = played(
        "[[phase]]\nname = 'a'\nduration = '9s'\nvars = { requests = 70, code = 9 }\n\
         [[phase]]\nname = 'b'\nduration = '9s'\nvars = { requests = 70, code = 0 }\n\
         [[phase]]\nname = 'c'\nduration = '9s'\nload = ['sh', '-c', 'kill -9 $$']\n",
    )?;
    let verdicts: Vec<_> = judgements(&outcome)?
        .into_iter()
        .map(|(phase, _, verdict, reason)| format!("{phase} {verdict} {reason}"))
        .collect();
    ensure!(
        verdicts
            == [
                "a inconclusive the load command failed with exit code 9",
                "b pass ",
                "c inconclusive the load command was killed by signal 9",
            ],
        "{verdicts:?}"
    );
    Ok(())
}

/// A load that does not end is ended, and its phase says nothing.
fn load_that_overruns() -> Result<()> {
    let server = server()?;
    let text = "name = 'plan'\n[load]\ngrace = '300ms'\n\
                [[phase]]\nname = 'a'\nduration = '300ms'\nload = ['sh', '-c', 'trap \"\" INT; while :; do sleep 1; done']\n\
                [[objective]]\nid = 'answers'\nmetric = 'requests'\ntarget = 1\nlimit = 1\n";
    let probe = Probe::play(server.pid(), text, &[])?;
    let load = load_of(&probe)?;
    let outcome = probe.outcome(wait::SOON)?;
    let phases: Vec<Value> = outcome.report.at("/phases")?;
    ensure!(phases[0]["load"]["outcome"] == "overran", "{phases:?}");
    let reason = judgements(&outcome)?.remove(0).3;
    ensure!(reason == "the load command did not end with its phase and was stopped", "{reason}");
    is_gone(load)
}

/// The process of the load command.
fn load_of(probe: &Probe) -> Result<u32> {
    wait::until("the load command", wait::SOON, || {
        Ok(host::tree(probe.pid())?.into_iter().find(|pid| *pid != probe.pid()))
    })
}

fn is_gone(pid: u32) -> Result<()> {
    wait::until("the end of the load command", wait::SOON, || Ok((host::threads(pid) == 0).then_some(())))
}

const ENDLESS: &str = "name = 'plan'\n[[phase]]\nname = 'a'\nduration = '1h'\nload = ['sleep', '3600']\n";

/// Ctrl-C ends the load with the run, and the report says so.
fn interrupt_ends_the_load() -> Result<()> {
    let server = server()?;
    let probe = Probe::play(server.pid(), ENDLESS, &[])?;
    let load = load_of(&probe)?;
    let outcome = probe.finish()?;
    ensure!(outcome.report.at::<String>("/phases/0/load/outcome")? == "stopped", "{:?}", outcome.report);
    is_gone(load)
}

/// Also SIGKILL leaves no load behind.
fn killed_probe_takes_its_load_along() -> Result<()> {
    let server = server()?;
    let mut probe = Probe::play(server.pid(), ENDLESS, &[])?;
    let load = load_of(&probe)?;
    probe.signal(Signal::SIGKILL)?;
    probe.wait_for_end(wait::SOON).context("a killed probe")?;
    is_gone(load)
}

/// A mark begins a phase: what was answered before it stays where it was.
fn marks_begin_phases() -> Result<()> {
    let server = server()?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut conn = Conn::open(server.addr())?;
    for (name, n) in [("", 3), ("first", 5), ("second one", 7)] {
        if !name.is_empty() {
            let run = probe.run_dir();
            let marked = Command::new(binary()?).args(["mark", name, "--run"]).arg(&run).status()?;
            ensure!(marked.success(), "mark `{name}`: {marked}");
            wait::until("the mark", wait::SOON, || Ok(probe.stderr()?.contains(name).then_some(())))?;
        }
        for _ in 0..n {
            conn.exchange(&Request::get("/hello"))?;
        }
    }
    let run = probe.run_dir();
    let outcome = finish(probe, &server)?;
    let endpoints: Vec<Value> = outcome.report.at("/endpoints")?;
    let counts: Vec<_> =
        endpoints.iter().map(|found| (found["phase"].as_str(), found["requests"].as_u64())).collect();
    ensure!(
        counts == [(Some("run"), Some(3)), (Some("first"), Some(5)), (Some("second one"), Some(7))],
        "{counts:?}"
    );
    ensure!(!run.join("mark.sock").exists());
    let late = Command::new(binary()?).args(["mark", "late", "--run"]).arg(&run).output()?;
    ensure!(
        late.status.code() == Some(2)
            && String::from_utf8_lossy(&late.stderr).contains("no run is under way")
    );
    Ok(())
}
