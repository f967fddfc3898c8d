//! Is a load test of this service worth running? The questions of the load-test readiness audit that a machine can
//! answer, in the audit's own form. Pure: what is asked of the machine comes in as [`Seen`].

use std::fmt;

use crate::host::{Gap, Severity};
use crate::profile::{Profile, Shape, Stat};
use crate::slo::samples_for_percentile;
use crate::target::facts::Facts;

/// Open files that hundreds of connections and checkpoints need.
const MIN_FILES: u64 = 4096;
/// With fewer ephemeral ports a load generator on this machine runs out of them.
const MIN_PORTS: u32 = 10_000;
/// The audit's shortest sustained load, seconds.
const SUSTAINED_S: f64 = 900.0;
/// Words of a command line that belong to development.
const DEBUG_WORDS: [&str; 4] = ["--reload", "--debug", "--log-level=debug", "debug=true"];

/// What was found out about the machine and the service.
#[derive(Debug, Default)]
pub struct Seen<'a> {
    /// What limits probe here.
    pub gaps: &'a [Gap],
    /// The service.
    pub facts: Option<&'a Facts>,
    /// Its soft limit of open files.
    pub max_files: Option<u64>,
    /// Ports for outgoing connections on this machine.
    pub n_ports: Option<u32>,
    /// Databases that it has open.
    pub databases: &'a [String],
    /// Programs of load commands that are not there.
    pub missing_programs: &'a [String],
    /// Phases whose network condition cannot be had here, with the reason.
    pub missing_conditions: &'a [(String, String)],
    /// Earlier runs with this profile.
    pub n_baselines: usize,
    /// Processors.
    pub n_cpus: usize,
}

/// How much a gap weighs; see the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Results would be meaningless or misleading.
    Blocker,
    /// Results need a caveat.
    Warning,
    /// Better, not needed.
    Recommendation,
}

/// One gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// The audit's category.
    pub category: &'static str,
    /// What is missing.
    pub gap: String,
    /// What comes of it.
    pub impact: &'static str,
    /// What to do.
    pub remediation: String,
    /// How to see that it is done.
    pub verification: &'static str,
}

const AGAIN: &str = "run this command again: the finding is gone";

/// The gaps, the gravest first.
pub fn find(profile: &Profile, seen: &Seen<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    criteria(profile, &mut found);
    load(profile, seen, &mut found);
    instrumentation(seen, &mut found);
    environment(seen, &mut found);
    if seen.n_baselines == 0 {
        found.push(finding(
            Level::Warning,
            "Pre-Test",
            "no earlier run with this profile is kept in `runs/`",
            "A regression cannot be told from how it always was; `probe compare` is inconclusive",
            "run the profile once on a version that is known to be good, and keep its directory",
        ));
    }
    found.sort_by_key(|finding| finding.level);
    found
}

/// From 10, what each gap takes away; never below 1.
pub fn score(findings: &[Finding]) -> u32 {
    let count =
        |level| u32::try_from(findings.iter().filter(|finding| finding.level == level).count()).unwrap_or(10);
    // Quarters: a blocker takes three points, a warning three quarters of one, a recommendation one quarter.
    let taken = 12 * count(Level::Blocker).min(10)
        + 3 * count(Level::Warning).min(20)
        + count(Level::Recommendation).min(40);
    10u32.saturating_sub(taken.div_ceil(4)).max(1)
}

fn finding(
    level: Level,
    category: &'static str,
    gap: impl Into<String>,
    impact: &'static str,
    remediation: impl Into<String>,
) -> Finding {
    Finding { level, category, gap: gap.into(), impact, remediation: remediation.into(), verification: AGAIN }
}

fn criteria(profile: &Profile, found: &mut Vec<Finding>) {
    const CATEGORY: &str = "Pass/Fail Criteria";
    if profile.objectives.is_empty() {
        found.push(finding(
            Level::Blocker,
            CATEGORY,
            "the profile has no objectives",
            "Inconclusive results: nothing is judged",
            "name objectives in the profile: `[[objective]]` with id, metric, target, limit",
        ));
    }
    let judged_s: f64 =
        profile.phases.iter().filter(|phase| phase.judged).map(|phase| phase.duration.as_secs_f64()).sum();
    if judged_s <= 0.0 {
        return;
    }
    // A rate that is asked for says how many samples will come of the phases.
    for rate in profile.objectives.iter().filter(|objective| objective.metric.quantity.shape == Shape::Rate) {
        let planned = rate.target * judged_s;
        let same = profile.objectives.iter().filter(|objective| objective.subject == rate.subject);
        for objective in same {
            let Some(Stat::Percentile(percentile)) = objective.metric.stat else { continue };
            let needed = samples_for_percentile(percentile);
            if planned < needed as f64 {
                found.push(finding(
                    Level::Warning,
                    CATEGORY,
                    format!(
                        "objective `{}` needs {needed} samples; `{}` asks for {planned:.0} in the {judged_s:.0} s that are judged",
                        objective.id, rate.id
                    ),
                    "Inconclusive results: the percentile cannot be told from chance",
                    "let the judged phases last longer, raise the load, or judge a lower percentile",
                ));
            }
        }
    }
}

fn load(profile: &Profile, seen: &Seen<'_>, found: &mut Vec<Finding>) {
    const PROFILE: &str = "Load Profile";
    for program in seen.missing_programs {
        found.push(finding(
            Level::Blocker,
            "Tooling",
            format!("the load program `{program}` is not on this machine"),
            "No load: the run ends before it begins",
            format!("install `{program}`, or name its path in the profile"),
        ));
    }
    let phases = &profile.phases;
    if phases.is_empty() {
        found.push(finding(
            Level::Warning,
            PROFILE,
            "the profile has no phases: warm-up and steady load are judged together",
            "False results: cold starts (model loading, connection pools) weigh as much as the steady state",
            "add `[[phase]]`: a warm-up with `judged = false`, baseline, ramp, sustained, spike, cooldown",
        ));
        return;
    }
    if phases.iter().all(|phase| phase.judged) {
        found.push(finding(
            Level::Warning,
            PROFILE,
            "every phase is judged, also the first: there is no warm-up",
            "False negative: the first requests are slow for reasons that no user meets later",
            "begin with a phase that has `judged = false`",
        ));
    }
    if phases.len() == 1 {
        found.push(finding(
            Level::Warning,
            PROFILE,
            "there is a single phase, so a single level of load",
            "The saturation point and the recovery from it stay unknown",
            "add a ramp, a spike and a cooldown",
        ));
    }
    let longest = phases
        .iter()
        .filter(|phase| phase.judged)
        .map(|phase| phase.duration.as_secs_f64())
        .fold(0.0, f64::max);
    if longest < SUSTAINED_S {
        found.push(finding(
            Level::Recommendation,
            PROFILE,
            format!("the longest judged phase takes {longest:.0} s; the audit asks for 15 to 30 minutes of sustained load"),
            "Leaks, growing checkpoint directories and WAL files show after minutes only",
            "let one phase last 15 minutes or more",
        ));
    }
    if phases.iter().all(|phase| phase.net.is_empty()) {
        found.push(finding(
            Level::Recommendation,
            "Environment",
            "no phase has a network condition: a perfect local network is assumed",
            "False positive: passes here, fails for users who are far away",
            "name a condition in one phase: `net = \"...\"`",
        ));
    }
    for (phase, why) in seen.missing_conditions {
        found.push(finding(
            Level::Warning,
            "Environment",
            format!("the network condition of phase `{phase}` is not available: {why}"),
            "Inconclusive results: nothing of the phase is judged",
            "run on a kernel with sch_netem, name a condition of rates alone, or leave the phase out",
        ));
    }
    if profile.load.command.is_some() || phases.iter().any(|phase| phase.load.is_some()) {
        found.push(finding(
            Level::Warning,
            "Tooling",
            "the load generator runs on the machine of the service and shares its processors",
            "What is measured is how both compete; the capacity found is too low",
            "run it on another machine, or keep both apart with `taskset`",
        ));
    }
    if let Some(n_ports) = seen.n_ports.filter(|n_ports| *n_ports < MIN_PORTS) {
        found.push(finding(
            Level::Warning,
            "Tooling",
            format!("this machine has {n_ports} ports for outgoing connections"),
            "A load generator here runs out of ports and reports errors that are not the service's",
            "sysctl net.ipv4.ip_local_port_range='1024 65535'",
        ));
    }
}

fn instrumentation(seen: &Seen<'_>, found: &mut Vec<Finding>) {
    for gap in seen.gaps {
        let level = match gap.severity {
            Severity::Blocks => Level::Blocker,
            Severity::Degrades => Level::Warning,
            Severity::Info => continue,
        };
        found.push(Finding {
            gap: format!("{}: {}", gap.what, gap.consequence),
            ..finding(level, "Instrumentation", "", "Cannot diagnose failures", gap.remedy.clone())
        });
    }
}

fn environment(seen: &Seen<'_>, found: &mut Vec<Finding>) {
    const CATEGORY: &str = "Environment";
    let Some(facts) = seen.facts else { return };
    if facts.listeners.is_empty() {
        found.push(finding(
            Level::Blocker,
            CATEGORY,
            "the process listens on no TCP port",
            "There is nothing to test",
            "name the server's process, or `--port`",
        ));
    }
    let cmdline = facts.cmdline.to_lowercase().replace("--log-level debug", "--log-level=debug");
    for word in DEBUG_WORDS.iter().filter(|word| cmdline.contains(**word)) {
        found.push(finding(
            Level::Blocker,
            CATEGORY,
            format!("the service runs with a development setting: `{word}`"),
            "False negative: watching files and writing debug logs cost more than the requests",
            format!("start it without `{word}`"),
        ));
    }
    if let Some(max_files) = seen.max_files.filter(|max_files| *max_files < MIN_FILES) {
        found.push(finding(
            Level::Warning,
            CATEGORY,
            format!("the service may open {max_files} files at once"),
            "Connections are refused at a number that is not the service's own limit",
            format!("`ulimit -n {}` before it is started, or LimitNOFILE= of its unit", MIN_FILES * 16),
        ));
    }
    if facts.processes.len() == 1
        && seen.n_cpus > 1
        && cmdline.contains("uvicorn")
        && !cmdline.contains("--workers")
    {
        found.push(finding(
            Level::Recommendation,
            CATEGORY,
            format!("one worker process on {} processors", seen.n_cpus),
            "If production has more workers, the capacity found is too low",
            "start as many workers as production has: `--workers N`",
        ));
    }
    for database in seen.databases {
        let path = database.to_lowercase();
        if !["test", "tmp", "load", "stag"].iter().any(|word| path.contains(word)) {
            found.push(finding(
                Level::Warning,
                "Test Data",
                format!("the service has the database `{database}` open, and nothing in its path says that it is for tests"),
                "The load fills a database that somebody may need",
                "start the service on a copy, under a path of its own",
            ));
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocker => "BLOCKER",
            Self::Warning => "WARNING",
            Self::Recommendation => "RECOMMENDATION",
        })
    }
}

#[cfg(test)]
mod tests;
