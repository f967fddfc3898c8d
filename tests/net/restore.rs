//! However it ends, everything is as it was.

use std::{panic, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use probe::inject::{Injector, Request, plan::Target, read, scope::Scope};
use probe_tests::wait;

use crate::{
    Suite,
    bench::{Injection, look, net, run},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("restore::every_ordinary_end", every_ordinary_end);
    suite.add("restore::a_panic", a_panic);
    suite.add("restore::what_somebody_set", what_somebody_set);
    suite.add("restore::left_overs_are_cleared", left_overs);
    suite.add("restore::clear_ends_a_living_one", clear_ends);
    suite.add("restore::many_rounds_leave_nothing", many_rounds);
    suite.add("restore::a_device_that_disappears", disappearing);
}

/// Rounds of the trial; more by hand.
const ROUNDS: &str = "PROBE_TEST_ROUNDS";

const RATE: [&str; 6] = ["--dev", "lo", "--set", "rate=8mbit", "--port", "8000"];

fn every_ordinary_end() -> Result<()> {
    let before = look("lo")?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut injection = Injection::start(&RATE)?;
        ensure!(look("lo")? != before);
        injection.signal(signal)?;
        injection.ended()?;
        ensure!(look("lo")? == before, "{signal}: {}", look("lo")?);
    }
    let mut injection = Injection::start(&[&RATE[..], &["--for", "7s"]].concat())?;
    injection.ended()?;
    ensure!(look("lo")? == before, "--for: {}", look("lo")?);
    Ok(())
}

fn request(folder: &tempfile::TempDir) -> Result<Request> {
    let text = "name = \"x\"\nrate = \"8mbit\"\n";
    let condition =
        read::parse("x", text, None, folder.path()).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let scope = Scope { ports: vec![8000], ..Scope::default() };
    Ok(Request {
        targets: vec![Target { condition, scope, only: None }],
        device: "lo".to_owned(),
        is_remote: false,
        replace_root: false,
        ttl: None,
        echo: None,
        folder: folder.path().to_owned(),
        guard: None,
        cancelled: std::sync::Arc::default(),
    })
}

fn a_panic() -> Result<()> {
    let before = look("lo")?;
    let folder = tempfile::tempdir()?;
    let request = request(&folder)?;
    let ended = panic::catch_unwind(|| {
        let _injector = Injector::apply(request);
        let during = look("lo").unwrap_or_default();
        assert!(!during.contains("htb"), "on purpose: it is there");
    });
    ensure!(ended.is_err());
    ensure!(look("lo")? == before, "{}", look("lo")?);
    Ok(())
}

fn what_somebody_set() -> Result<()> {
    run(
        "tc",
        &[
            "qdisc", "add", "dev", "lo", "root", "handle", "7:", "tbf", "rate", "900mbit", "burst", "200k",
            "latency", "40ms",
        ],
    )?;
    let before = look("lo")?;
    let folder = tempfile::tempdir()?;
    let output = net(&[&["apply"], &RATE[..]].concat(), &folder)?.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && stderr.contains("`tbf` 7:"), "{stderr}");
    ensure!(look("lo")? == before);
    let mut injection = Injection::start(&[&RATE[..], &["--replace-root"]].concat())?;
    ensure!(!look("lo")?.contains("tbf 7:"));
    injection.stop()?;
    ensure!(look("lo")? == before, "{before}\nbecame\n{}", look("lo")?);
    Ok(())
}

/// Injector and guard both killed: `show` tells, `clear` takes back, and leaves what is not ours.
fn left_overs() -> Result<()> {
    let before = look("lo")?;
    let mut injection = Injection::start(&RATE)?;
    kill(injection.guard()?, Signal::SIGKILL)?;
    injection.signal(Signal::SIGKILL)?;
    injection.ended()?;
    ensure!(look("lo")?.contains("504f:"), "nothing was left over: {}", look("lo")?);
    let shown = net(&["show"], &injection.state)?.output()?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("left by a dead injector") && shown.contains("port 8000"), "{shown}");
    let cleared = net(&["clear"], &injection.state)?.output()?;
    ensure!(cleared.status.success(), "{}", String::from_utf8_lossy(&cleared.stderr));
    ensure!(look("lo")? == before, "{}", look("lo")?);
    run("tc", &["qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb"])?;
    let foreign = look("lo")?;
    net(&["clear"], &injection.state)?.output()?;
    ensure!(look("lo")? == foreign, "clear took away what is not ours");
    Ok(())
}

fn clear_ends() -> Result<()> {
    let before = look("lo")?;
    let mut injection = Injection::start(&RATE)?;
    let second = net(&[&["apply"], &RATE[..]].concat(), &injection.state)?.output()?;
    let stderr = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(
        second.status.code() == Some(1) && stderr.contains("another injector is at work on `lo`"),
        "{stderr}"
    );
    let elsewhere = tempfile::tempdir()?;
    let third = net(&[&["apply"], &RATE[..]].concat(), &elsewhere)?.output()?;
    let stderr = String::from_utf8_lossy(&third.stderr).into_owned();
    ensure!(third.status.code() == Some(1) && stderr.contains("out of our sight"), "{stderr}");
    ensure!(std::fs::read_dir(elsewhere.path())?.next().is_none(), "who was refused has left a journal");
    let cleared = net(&["clear"], &injection.state)?.output()?;
    ensure!(cleared.status.success(), "{}", String::from_utf8_lossy(&cleared.stderr));
    injection.ended()?;
    ensure!(look("lo")? == before, "{}", look("lo")?);
    Ok(())
}

fn many_rounds() -> Result<()> {
    let rounds: u32 = std::env::var(ROUNDS).ok().map_or(Ok(20), |text| text.parse())?;
    let before = look("lo")?;
    let folder = tempfile::tempdir()?;
    for round in 0..rounds {
        let mut injector = Injector::apply(request(&folder)?).with_context(|| format!("round {round}"))?;
        injector.tick()?;
        injector.release()?;
    }
    ensure!(look("lo")? == before, "{}", look("lo")?);
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "a journal is left");
    Ok(())
}

fn disappearing() -> Result<()> {
    run("ip", &["link", "add", "here", "type", "veth", "peer", "name", "there"])?;
    run("ip", &["link", "set", "here", "up"])?;
    run("ip", &["link", "set", "there", "up"])?;
    let arguments = ["--dev", "here", "--set", "rate=8mbit", "--port", "8000", "--only", "down"];
    let mut injection = Injection::start(&arguments)?;
    run("ip", &["link", "del", "here"])?;
    let ended = injection.ended()?;
    ensure!(ended.code == Some(1) && ended.stderr.contains("`here` has disappeared"), "{}", ended.stderr);
    wait::until("an empty journal", Duration::from_secs(5), || {
        let has_journal = std::fs::read_dir(injection.state.path())?
            .flatten()
            .any(|file| file.path().extension().is_some_and(|e| e == "json"));
        Ok((!has_journal).then_some(()))
    })?;
    Ok(())
}
