//! `probe compare`: worse is told from as before, and only like is compared with like.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Change, Runs, SAME};
use crate::{
    Suite,
    bench::{Answer, end_of, probe, refused},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("compare::worse_is_told_from_as_before", worse_is_told_from_as_before);
    suite.add("compare::only_like_with_like", only_like_with_like);
    suite.add("compare::no_baseline_is_inconclusive", no_baseline_is_inconclusive);
    suite.add("compare::what_is_no_run_is_refused", what_is_no_run_is_refused);
}

/// The recording's p95 is its 456th answer of 480, an upload of 71.1 ms, milliseconds.
const P95_MS: f64 = 71.1;
/// Its answers per second.
const RATE: f64 = 24.0;
/// To which latencies are kept, a part of them.
const RESOLUTION: f64 = 0.001;

/// Value, median of the baselines, limit, verdict and reason of a rule.
fn judged(answer: &Answer, id: &str) -> Result<(f64, f64, f64, String, String)> {
    let report: Value = serde_json::from_str(&answer.stdout).with_context(|| format!("{answer:?}"))?;
    let judged = report["objectives"].as_array().and_then(|all| all.iter().find(|one| one["id"] == id));
    let judged = judged.with_context(|| format!("no `{id}`: {answer:?}"))?;
    let number = |key: &str| judged[key].as_f64().unwrap_or(f64::NAN);
    let text = |key: &str| judged[key].as_str().unwrap_or_default().to_owned();
    Ok((number("value"), number("target"), number("limit"), text("verdict"), text("reason")))
}

fn is_about(value: f64, expected: f64) -> bool {
    (value / expected - 1.0).abs() < RESOLUTION
}

/// By so much slower or longer, against so many runs, gives this exit code and these verdicts.
fn worse_is_told_from_as_before() -> Result<()> {
    let runs = Runs::new()?;
    let slower = |slower_ms| Change { slower_ms, ..SAME };
    let longer = |length| Change { length, ..SAME };
    for (name, change) in [
        ("as-before", SAME),
        ("slower-14", slower(14)),
        ("slower-15", slower(15)),
        ("slower-40", slower(40)),
        ("slower-80", slower(80)),
        ("slower-200", slower(200)),
        ("slower-240", slower(240)),
        ("faster", longer(80)),
        ("longer-117", longer(117)),
        ("longer-118", longer(118)),
    ] {
        runs.add(name, change)?;
    }
    // One baseline: 20 % of 71.1 ms are 14.2 ms; 15 % fewer answers per second take 100 / 85 of the time.
    let one = &["as-before"][..];
    // Three: their median is 111.1 ms, their median deviation 40 ms, of which 4.45 are 178 ms.
    let spread = &["as-before", "slower-40", "slower-80"][..];
    for (run, baselines, code, p95, rate) in [
        ("as-before", one, 0, "pass", "pass"),
        ("slower-14", one, 0, "pass", "pass"),
        ("slower-15", one, 3, "fail", "pass"),
        ("faster", one, 0, "pass", "pass"),
        ("longer-117", one, 0, "pass", "pass"),
        ("longer-118", one, 3, "pass", "fail"),
        ("slower-200", spread, 0, "pass", "pass"),
        ("slower-240", spread, 3, "fail", "pass"),
        // Two have no spread, and a median between them.
        ("slower-200", &spread[..2], 3, "fail", "pass"),
    ] {
        let answer = runs.compare(run, baselines, &[])?;
        let verdicts = (judged(&answer, "p95")?.3, judged(&answer, "rate")?.3);
        ensure!(verdicts == (p95.to_owned(), rate.to_owned()), "{run}, {baselines:?}: {verdicts:?}");
        ensure!(answer.code == Some(code), "{run}, {baselines:?}: {:?}", answer.code);
    }
    let answer = runs.compare("slower-40", one, &[])?;
    let (value, median, limit, ..) = judged(&answer, "p95")?;
    let (own, before) = ((P95_MS + 40.0) / 1e3, P95_MS / 1e3);
    ensure!(is_about(value, own) && is_about(median, before) && is_about(limit, before * 1.2), "{answer:?}");
    let (value, median, limit, ..) = judged(&answer, "rate")?;
    ensure!(is_about(value, RATE) && is_about(median, RATE) && is_about(limit, RATE * 0.85), "{answer:?}");
    Ok(())
}

/// A baseline of another kind is named and left out; what is left decides, and nothing left is no pass.
fn only_like_with_like() -> Result<()> {
    let runs = Runs::new()?;
    runs.add("own", SAME)?;
    runs.add("alike", SAME)?;
    let other_rules = concat!("# More.\n", "name = 'history'\n");
    for (name, change, why) in [
        ("kernel", Change { kernel: "5.10.0", ..SAME }, "its kernel is another: 5.10.0, not 6.12.0"),
        ("machine", Change { machine: "64 cpus", ..SAME }, "its machine is another: 64 cpus, not 2 cpus"),
        ("profile", Change { profile: other_rules, ..SAME }, "it was made with another profile"),
    ] {
        runs.add(name, change)?;
        let alone = runs.compare("own", &[name], &[])?;
        let report: Value = serde_json::from_str(&alone.stdout)?;
        let left_out = &report["comparison"]["left_out"][0];
        ensure!(alone.code == Some(4), "{name}: {alone:?}");
        ensure!(left_out["run"] == name && left_out["why"] == why, "{left_out}");
        ensure!(judged(&alone, "p95")?.4 == "there is no baseline to compare with", "{alone:?}");
        let both = runs.compare("own", &[name, "alike"], &[])?;
        let report: Value = serde_json::from_str(&both.stdout)?;
        ensure!(both.code == Some(0), "{name}: {both:?}");
        ensure!(report["comparison"]["baselines"] == json!(["alike"]), "{}", report["comparison"]);
        // People are told as well.
        let text = end_of(probe(&["compare", "own", "--baseline", name])?.current_dir(&runs.0))?;
        let said = text.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(said.contains(why), "{why}: {text:?}");
    }
    // The same machine, but the network of one was made worse.
    for (name, net) in [("3g", "3g"), ("3g-before", "3g"), ("dsl", "dsl")] {
        runs.add(name, Change { net: Some(net), ..SAME })?;
    }
    let answer = runs.compare("3g", &["dsl"], &[])?;
    let reason = judged(&answer, "rate")?.4;
    ensure!(answer.code == Some(4) && reason.contains("under the same network condition"), "{answer:?}");
    // Of a phase it is known as well that latencies rose all the time, so only the other rule can be judged.
    let answer = runs.compare("3g", &["dsl", "3g-before"], &[])?;
    let (value, median, _, verdict, _) = judged(&answer, "rate")?;
    ensure!(verdict == "pass" && is_about(value, RATE) && is_about(median, RATE), "{verdict}, {median}");
    ensure!(judged(&answer, "p95")?.4.contains("still drifting"), "{:?}", judged(&answer, "p95")?);
    Ok(())
}

fn no_baseline_is_inconclusive() -> Result<()> {
    let runs = Runs::new()?;
    runs.add("own", SAME)?;
    for (more, code) in [
        (&[][..], 4),
        (&["--inconclusive", "pass"], 0),
        (&["--inconclusive", "warn"], 0),
        (&["--inconclusive", "fail"], 3),
    ] {
        let answer = runs.compare("own", &[], more)?;
        let (value, _, _, verdict, reason) = judged(&answer, "p95")?;
        ensure!(answer.code == Some(code), "{more:?}: {answer:?}");
        ensure!(is_about(value, P95_MS / 1e3) && verdict == "inconclusive", "{answer:?}");
        ensure!(reason == "there is no baseline to compare with", "{reason}");
    }
    Ok(())
}

fn what_is_no_run_is_refused() -> Result<()> {
    let runs = Runs::new()?;
    runs.add("own", SAME)?;
    fs::create_dir(runs.path("empty"))?;
    runs.add("damaged", SAME)?;
    let numbers = runs.path("damaged").join("numbers.json");
    let text = fs::read_to_string(&numbers)?;
    for (run, baseline, code, words) in [
        ("own", "empty", 2, "`empty` holds no run with its numbers"),
        ("nowhere", "own", 2, "`nowhere` holds no run"),
    ] {
        let mut command = probe(&["compare", run, "--baseline", baseline])?;
        refused(command.current_dir(&runs.0), code, &[words])?;
    }
    for damage in ["", "{}", &text[..text.len() / 2], &text.replace("numbers/1", "numbers/9")] {
        fs::write(&numbers, damage)?;
        let answer = runs.compare("own", &["damaged"], &[])?;
        ensure!(answer.code == Some(1) && answer.stdout.is_empty(), "{answer:?}");
        ensure!(answer.stderr.contains("damaged/numbers.json`"), "{answer:?}");
    }
    Ok(())
}
