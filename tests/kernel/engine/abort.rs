//! Rules that end a run early: when the rate of errors over a window is past its limit, and never with few samples.

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    host,
    probe::Probe,
    server::{Server, Uvicorn},
    wait,
};
use serde_json::Value;

use crate::{Suite, add, watch::finish};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, a_failing_endpoint_ends_the_run, few_failures_end_nothing);
}

const RULE: &str = "[[abort]]\nid = 'broken'\nendpoint = 'GET /status/{id}'\nmetric = 'error_rate'\n\
                    limit = '20%'\nwindow = '30s'\nmin_samples = 50\n";

fn server() -> Result<Server> {
    Uvicorn::new("uvloop", "httptools").start()
}

/// A fifth of the answers fails at first, then three quarters do: the run ends in its first phase, with its load.
fn a_failing_endpoint_ends_the_run() -> Result<()> {
    let server = server()?;
    let profile = format!(
        "name = 'aborts'\n{RULE}\
         [[phase]]\nname = 'first'\nduration = '1h'\nload = ['sleep', '3600']\n\
         [[phase]]\nname = 'second'\nduration = '1h'\n\
         [[objective]]\nid = 'answers'\nmetric = 'requests'\ntarget = 1\nlimit = 1\n"
    );
    let mut probe = Probe::play(server.pid(), &profile, &["--record"])?;
    let load = wait::until("the load command", wait::SOON, || {
        Ok(host::tree(probe.pid())?.into_iter().find(|pid| *pid != probe.pid()))
    })?;
    let mut conn = Conn::open(server.addr())?;
    let (mut n, mut failed) = (0u64, 0u64);
    let mut answer = |is_error: bool| -> Result<()> {
        let target = if is_error { "/status/503" } else { "/status/200" };
        conn.exchange(&Request::get(target))?;
        n += 1;
        failed += u64::from(is_error);
        Ok(())
    };
    // 20 % is not more than 20 %.
    for n in 0..100 {
        answer(n % 5 == 4)?;
    }
    // The rules are looked at each second; a line on stderr comes less often.
    let seen = probe.stderr()?.len();
    wait::until("a look", wait::SOON, || Ok((probe.stderr()?.len() > seen).then_some(())))?;
    ensure!(!probe.stderr()?.contains("abort rule"), "{}", probe.stderr()?);
    wait::until("the abort", wait::SOON, || {
        for n in 0..20 {
            answer(n % 4 != 0)?;
        }
        Ok(probe.stderr()?.contains("abort rule `broken`").then_some(()))
    })?;
    probe.wait_for_end(wait::SOON)?;
    ensure!(host::threads(load) == 0, "the load outlived the run");
    let outcome = probe.outcome(wait::SOON)?;
    ensure!(outcome.status.code() == Some(3), "{}: {}", outcome.status, outcome.stderr);
    ensure!(outcome.report.at::<String>("/run/ended_by")? == "abort");
    ensure!(outcome.report.at::<String>("/phases/0/load/outcome")? == "stopped");
    let judged: Vec<Value> = outcome.report.at("/objectives")?;
    let rule = judged.iter().find(|judged| judged["id"] == "broken").context("no verdict of the rule")?;
    ensure!(rule["verdict"] == "fail" && rule["phase"] == "first" && rule["limit"] == 0.2, "{rule}");
    let (value, samples) = (rule["value"].as_f64().unwrap_or(0.0), rule["samples"].as_u64().unwrap_or(0));
    ensure!(value > 0.2 && value <= failed as f64 / 100.0 && (50..=n).contains(&samples), "{rule}");
    // What was not played is no pass.
    let second = judged.iter().find(|judged| judged["phase"] == "second").context("nothing of `second`")?;
    ensure!(second["verdict"] == "inconclusive", "{second}");
    ensure!(outcome.stdout.contains("ended early by a rule of the profile"), "{}", outcome.stdout);
    Ok(())
}

/// All of 49 answers failed: too few to end anything.
fn few_failures_end_nothing() -> Result<()> {
    let server = server()?;
    let profile = format!("name = 'aborts'\n{RULE}");
    let probe = Probe::attach_with(server.pid(), &profile, &[])?;
    let mut conn = Conn::open(server.addr())?;
    for _ in 0..49 {
        conn.exchange(&Request::get("/status/500"))?;
    }
    let seen = probe.stderr()?.len();
    wait::until("a look", wait::SOON, || Ok((probe.stderr()?.len() > seen).then_some(())))?;
    let outcome = finish(probe, &server)?;
    ensure!(outcome.report.at::<String>("/run/ended_by")? == "signal", "{}", outcome.stderr);
    ensure!(outcome.report.at::<u64>("/overall/errors")? == 49);
    Ok(())
}
