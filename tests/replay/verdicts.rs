//! Recorded runs under other profiles: each rule of a verdict on numbers that really were measured.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::{Failed, Trial};
use probe::profile::Profile;
use probe::report::Report;
use probe::slo::Verdict::{self, Fail, Inconclusive, Pass, Warn};

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
    trials
}

fn trial(name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    let name = format!("verdicts::{}", name.replace(' ', "_"));
    Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:#}"))))
}

fn judged(recording: &str, objectives: &[&str]) -> Result<Report> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(recording);
    // The routes are those of the recording's own profile.
    let own = Profile::load(&folder.join("profile.toml"))?;
    let routes: Vec<String> =
        own.routes.iter().map(|route| format!("{route:?}", route = route.to_string())).collect();
    let mut text = format!("name = 'x'\nroutes = [{}]\n", routes.join(", "));
    for (n, objective) in objectives.iter().enumerate() {
        let _ = write!(text, "\n[[objective]]\nid = 'o{n}'\n{objective}\n");
    }
    replay(&folder, &Arc::new(Profile::parse("table", &text)?))
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
