//! Recorded runs under other profiles: each rule of a verdict on numbers that really were measured.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Failed, Trial};
use probe::engine::record;
use probe::profile::Profile;
use probe::report::Report;
use probe::slo::Verdict::{self, Fail, Inconclusive, Pass, Warn};
use serde_json::{Value, json};

use crate::replay;

/// A recording, one objective, and what must come of it: the verdict, and words of the reason.
type Case = (&'static str, &'static str, &'static str, Verdict, &'static str);

/// What the recordings hold stands in their own reports: `recorded` has 129 requests with a p95 of 4.45 ms (95 %
/// interval 3.41 to 10.3 ms), `failing` 200 with 5 errors.
const CASES: [Case; 14] = [
    (
        "no data",
        "recorded",
        "metric = 'failed_latency.p50'\ntarget = '1s'\nlimit = '1s'",
        Inconclusive,
        "no data",
    ),
    (
        "too few samples",
        "recorded",
        "metric = 'latency.p99'\ntarget = '1s'\nlimit = '1s'",
        Inconclusive,
        "129 of at least 368",
    ),
    ("enough samples", "recorded", "metric = 'latency.p95'\ntarget = '10ms'\nlimit = '20ms'", Pass, ""),
    (
        "between target and limit",
        "recorded",
        "metric = 'latency.p95'\ntarget = '4ms'\nlimit = '20ms'",
        Warn,
        "",
    ),
    ("beyond the limit", "recorded", "metric = 'latency.p95'\ntarget = '1ms'\nlimit = '2ms'", Fail, ""),
    ("limit straddled", "recorded", "metric = 'latency.p95'\ntarget = '4ms'\nlimit = '5ms'", Warn, ""),
    ("limit proven", "failing", "metric = 'error_rate'\ntarget = '0.1%'\nlimit = '0.5%'", Fail, ""),
    (
        "limit not proven",
        "failing",
        "metric = 'error_rate'\ntarget = '0.5%'\nlimit = '1%'",
        Inconclusive,
        "200 of at least 368",
    ),
    ("throughput", "recorded", "metric = 'rate'\ntarget = '20/s'\nlimit = '10/s'", Pass, ""),
    ("too little throughput", "recorded", "metric = 'rate'\ntarget = '60/s'\nlimit = '40/s'", Fail, ""),
    (
        "never seen",
        "recorded",
        "endpoint = 'GET /docments'\nmetric = 'rate'\ntarget = 1\nlimit = 1",
        Inconclusive,
        "`GET /documents`",
    ),
    (
        "a phase that never was",
        "recorded",
        "phase = 'spike'\nmetric = 'rate'\ntarget = 1\nlimit = 1",
        Inconclusive,
        "no phase of this name was played",
    ),
    (
        "lost events",
        "lossy",
        "metric = 'latency.p50'\ntarget = '1s'\nlimit = '1s'",
        Inconclusive,
        "events were lost",
    ),
    ("no end", "killed", "metric = 'rate'\ntarget = '1/s'\nlimit = '1/s'", Inconclusive, "no end"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = CASES
        .into_iter()
        .map(|(name, recording, objective, verdict, reason)| {
            trial(name, move || one(recording, objective, verdict, reason))
        })
        .collect();
    trials.push(trial("wildcard", wildcard));
    trials.push(trial("key veto", key_veto));
    trials.push(trial("audit", audit));
    trials.push(trial("unproven condition", unproven_condition));
    trials.push(trial("gpu", gpu));
    trials.push(trial("load generator", load_generator));
    trials
}

fn trial(name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    let name = format!("verdicts::{}", name.replace(' ', "_"));
    Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:#}"))))
}

fn judged(recording: &str, objectives: &[&str]) -> Result<Report> {
    replay(&golden(recording), &profile(recording, objectives)?)
}

/// The same of a recording whose lines were changed.
fn changed(recording: &str, objectives: &[&str], change: impl FnOnce(&mut Vec<Value>)) -> Result<Report> {
    let text = fs::read_to_string(golden(recording).join(record::FILE_NAME))?;
    let mut lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    change(&mut lines);
    let folder = tempfile::tempdir()?;
    let mut text = String::new();
    for line in &lines {
        writeln!(text, "{line}")?;
    }
    fs::write(folder.path().join(record::FILE_NAME), text)?;
    replay(folder.path(), &profile(recording, objectives)?)
}

fn golden(recording: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(recording)
}

/// These objectives alone, with the endpoints' names of the recording.
fn profile(recording: &str, objectives: &[&str]) -> Result<Arc<Profile>> {
    let folder = golden(recording);
    // The routes are those of the recording's own profile.
    let own = Profile::load(&folder.join("profile.toml"))?;
    let routes: Vec<String> =
        own.routes.iter().map(|route| format!("{route:?}", route = route.to_string())).collect();
    let mut text = format!("name = 'x'\nroutes = [{}]\n", routes.join(", "));
    for (n, objective) in objectives.iter().enumerate() {
        let _ = write!(text, "\n[[objective]]\nid = 'o{n}'\n{objective}\n");
    }
    Ok(Arc::new(Profile::parse("table", &text)?))
}

fn one(recording: &str, objective: &str, verdict: Verdict, reason: &str) -> Result<()> {
    let report = judged(recording, &[objective])?;
    ensure!(report.verdict == verdict, "{:?}", report.objectives);
    if reason.is_empty() {
        return Ok(());
    }
    let [judgement] = report.objectives.as_slice() else { anyhow::bail!("{:?}", report.objectives) };
    ensure!(judgement.verdict == verdict, "{judgement:?}");
    ensure!(judgement.reason.as_deref().unwrap_or_default().contains(reason), "{judgement:?}");
    Ok(())
}

/// Each endpoint has a line of its own, and one that fails fails the run.
fn wildcard() -> Result<()> {
    let report = judged("recorded", &["endpoint = 'GET *'\nmetric = 'requests'\ntarget = 12\nlimit = 4"])?;
    let lines: Vec<(&str, Verdict)> =
        report.objectives.iter().map(|judgement| (judgement.subject.as_str(), judgement.verdict)).collect();
    let expected = [
        ("GET /checkpoints", Fail),
        ("GET /documents", Pass),
        ("GET /documents/{id}", Pass),
        ("GET /export/{fmt}", Pass),
        ("GET /stages/{id}", Pass),
        ("GET /ws", Warn),
    ];
    ensure!(lines == expected && report.verdict == Fail, "{lines:?}");
    Ok(())
}

/// A key objective decides alone; what else is no pass makes a warning.
fn key_veto() -> Result<()> {
    const GOOD: &str = "metric = 'rate'\ntarget = '1/s'\nlimit = '1/s'";
    const BAD: &str = "metric = 'rate'\ntarget = '999/s'\nlimit = '999/s'";
    let key = |objective: &str| format!("key = true\n{objective}");
    for (objectives, verdict) in [
        ([GOOD.to_owned(), BAD.to_owned()], Fail),
        ([key(GOOD), BAD.to_owned()], Warn),
        ([GOOD.to_owned(), key(BAD)], Fail),
    ] {
        let report = judged("recorded", &objectives.each_ref().map(String::as_str))?;
        ensure!(report.verdict == verdict, "{verdict}: {:?}", report.objectives);
    }
    Ok(())
}

/// Of a phase nothing is judged whose network was not as planned, or whose load was not; the phases beside it are.
fn unproven_condition() -> Result<()> {
    const BOTH: &str = "metric = 'error_rate'\ntarget = '10%'\nlimit = '20%'";
    let degraded = |line: &Value| line["phase"] == "degraded";
    for (change, reason) in [
        (Value::Null, ""),
        (
            json!({ "problems": ["loss: 3 % asked, 0 % measured"] }),
            "`narrow.toml` is not proved: loss: 3 % asked",
        ),
        (json!({ "problems": ["no device"], "conditions": [] }), "`narrow.toml` was not injected: no device"),
        (json!({ "is": "gone" }), "`narrow.toml` was not injected"),
        (json!({ "outcome": { "failed": { "code": 7 } } }), "the load command failed with exit code 7"),
        (json!({ "outcome": { "killed": { "signal": 9 } } }), "the load command was killed by signal 9"),
        (json!({ "outcome": "overran" }), "did not end with its phase"),
        (json!({ "busiest_thread": 0.97 }), "saturated: one of its threads used 97 % of a core"),
    ] {
        let report = changed("phases", &[BOTH], |lines| {
            // What ended the run early is a verdict of its own.
            lines.retain(|line| line["event"] != "abort");
            if change["is"] == "gone" {
                lines.retain(|line| line["event"] != "condition");
            }
            for line in lines.iter_mut().filter(|line| degraded(line)) {
                let place = if line["event"] == "condition" { &mut line["proof"] } else { line };
                for (key, value) in change.as_object().into_iter().flatten() {
                    if !place[key].is_null() {
                        place[key] = value.clone();
                    }
                }
            }
        })?;
        let of = |phase: &str| report.objectives.iter().find(|judgement| judgement.phase == phase);
        let (steady, degraded) = of("steady").zip(of("degraded")).context("a phase is not judged")?;
        ensure!(steady.verdict == Pass && steady.reason.is_none(), "{change}: {steady:?}");
        let expected = if reason.is_empty() { Pass } else { Inconclusive };
        ensure!(degraded.verdict == expected && report.verdict == expected, "{change}: {degraded:?}");
        ensure!(degraded.reason.as_deref().unwrap_or_default().contains(reason), "{change}: {degraded:?}");
    }
    Ok(())
}

/// How hard the load generator worked, in each phase that is judged: 18, 17.1 and 19.9 % of a core.
fn load_generator() -> Result<()> {
    let objective = "load = '*'\nmetric = 'busiest_thread'\ntarget = '17.5%'\nlimit = '19%'";
    let report = changed("phases", &[objective], |lines| lines.retain(|line| line["event"] != "abort"))?;
    let verdicts: Vec<_> =
        report.objectives.iter().map(|found| (found.phase.as_str(), found.verdict, found.samples)).collect();
    ensure!(verdicts == [("steady", Warn, 1), ("degraded", Pass, 1), ("spike", Fail, 1)], "{verdicts:?}");
    let none = judged("recorded", &[objective])?;
    let reason = none.objectives.first().and_then(|found| found.reason.as_deref());
    ensure!(reason == Some("the run started no load command"), "{:?}", none.objectives);
    Ok(())
}

/// Objectives on a GPU in two phases, by the numbers at the head of that profile; and once it is lost, none.
fn gpu() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/gpu_phases");
    let report = replay(&folder, &Arc::new(Profile::load(&folder.join("profile.toml"))?))?;
    let told = |id: &str, phase: &str| {
        let found = report.objectives.iter().find(|found| found.id == id && found.phase == phase);
        found.map(|found| (found.value, found.verdict))
    };
    for (id, phase, value, verdict) in [
        ("gpu-busy-enough", "cold", Some(4.0 / 6.05), Warn),
        ("gpu-busy-enough", "warm", Some(1.0 / 3.95), Pass),
        ("gpu-memory", "cold", Some(0.8), Warn),
        ("gpu-throttled", "cold", Some(2.0 / 6.05), Fail),
        ("gpu-throttled", "warm", Some(0.0), Pass),
        ("gpu-energy", "cold", Some(1220.0), Pass),
        ("gpu-energy", "warm", Some(1580.0), Fail),
        ("gpu-heat", "warm", Some(65.0), Warn),
        ("gpu-power", "cold", Some(400.0), Warn),
        ("second-gpu", "cold", None, Inconclusive),
        ("nvlink", "cold", None, Inconclusive),
    ] {
        let (found, of) = told(id, phase).with_context(|| format!("no {id} in {phase}"))?;
        let is_same = found.zip(value).map_or(found == value, |(a, b)| (a - b).abs() < 1e-9);
        ensure!(is_same && of == verdict, "{id} in {phase}: {found:?}, {of:?}");
    }
    let busy = "gpu = '*'\nmetric = 'util.mean'\ntarget = '90%'\nlimit = '90%'";
    let lost = changed("gpu", &[busy], |lines| {
        let at = lines.iter().position(|line| line["ts_ns"].as_u64() > Some(1_009_000_000_000)).unwrap_or(1);
        let lost = json!({"event": "gpu", "seen": "lost", "ts_ns": 1_009_000_000_000_u64, "gpu": 0, "why": "off the bus"});
        lines.insert(at, lost);
    })?;
    let [judgement] = lost.objectives.as_slice() else { anyhow::bail!("{:?}", lost.objectives) };
    ensure!(judgement.verdict == Inconclusive, "{judgement:?}");
    ensure!(judgement.reason.as_deref() == Some("the GPU stopped answering"), "{judgement:?}");
    Ok(())
}

/// The readiness audit's profile on a recorded run: what it has is judged, what it has not is told.
fn audit() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let profile = Profile::load(&root.join("../profiles/audit.toml"))?;
    ensure!(profile.phases.len() == 6 && profile.aborts.len() == 1 && profile.regressions.len() == 2);
    let report = replay(&root.join("golden/recorded"), &Arc::new(profile))?;
    let verdict = |id: &str| {
        let found = report.objectives.iter().find(|judgement| judgement.id == id);
        found.map(|judgement| (judgement.verdict, judgement.reason.as_deref().unwrap_or_default()))
    };
    for (id, expected) in [
        ("api-p50", (Pass, "")),
        ("api-p95", (Pass, "")),
        ("api-p99", (Inconclusive, "129 of at least 368 requests")),
        ("upload-success", (Inconclusive, "4 of at least 72 requests")),
        ("memory-growth", (Inconclusive, "no phase of this name was played")),
        ("memory", (Inconclusive, "nothing of this name was looked at, or not for long enough")),
        ("pipeline-completion", (Inconclusive, "no phase of this name was played")),
    ] {
        ensure!(verdict(id) == Some(expected), "{id}: {:?}", verdict(id));
    }
    ensure!(report.verdict == Inconclusive);
    Ok(())
}
