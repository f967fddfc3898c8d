//! `probe doctor --profile`: asks the machine what the readiness audit asks, and writes the answers in its form.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::results::NUMBERS;
use super::run_net;
use crate::host::{Gap, Host};
use crate::numbers::Numbers;
use crate::profile::Profile;
use crate::readiness::{Finding, Level, Seen, find, score};
use crate::target::facts::Facts;

/// Where runs lie that were given no directory.
const RUNS: &str = "runs";
/// More earlier runs tell nothing new.
const MAX_RUNS: usize = 200;

/// The page, and whether a load test is worth running.
pub(super) fn page(profile: &Profile, host: &Host, gaps: &[Gap], facts: Option<&Facts>) -> (String, bool) {
    let databases = facts.map(databases).unwrap_or_default();
    let missing_programs = missing_programs(profile);
    let missing_conditions = run_net::unavailable(&profile.phases, facts);
    let findings = find(
        profile,
        &Seen {
            gaps,
            facts,
            max_files: facts.and_then(|facts| max_files(facts.pid)),
            n_ports: ports(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default()),
            databases: &databases,
            missing_programs: &missing_programs,
            missing_conditions: &missing_conditions,
            n_baselines: baselines(Path::new(RUNS), profile),
            n_cpus: host.n_cpus,
        },
    );
    let has_blocker = findings.iter().any(|finding| finding.level == Level::Blocker);
    (text(&findings), !has_blocker)
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::from("\n## Load Test Readiness\n");
    for Finding { level, category, gap, impact, remediation, verification } in findings {
        let _ = write!(
            text,
            "\n[READINESS: {level}]\n\nCategory: {category}\n\nThe Gap:\n- {}\n\nImpact if Not Addressed:\n- {impact}\n\n\
             Remediation:\n- {}\n\nVerification:\n- {verification}\n",
            printable(gap),
            printable(remediation)
        );
    }
    let of = |level| findings.iter().filter(move |finding| finding.level == level);
    let count = |level| of(level).count();
    let _ = writeln!(text, "\n### Readiness Score: {}/10\n", score(findings));
    let _ = writeln!(
        text,
        "{} blockers, {} warnings, {} recommendations. Judged is what a machine can see; test data, journeys and parity \
         with production are for people.",
        count(Level::Blocker),
        count(Level::Warning),
        count(Level::Recommendation)
    );
    for (title, level) in
        [("Blockers to Address Before Testing", Level::Blocker), ("Warnings to Document", Level::Warning)]
    {
        if count(level) > 0 {
            let _ = writeln!(text, "\n### {title}\n");
            for (n, finding) in of(level).enumerate() {
                let _ = writeln!(text, "{}. {}", n + 1, printable(&finding.gap));
            }
        }
    }
    text
}

/// Command lines and paths are anybody's choice, and this goes to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Databases that the service has open, by the looks of their names.
fn databases(facts: &Facts) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for pid in &facts.processes {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for path in descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let name = path.display().to_string();
            if ["db", "sqlite", "sqlite3"].contains(&extension) && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found.sort_unstable();
    found
}

fn missing_programs(profile: &Profile) -> Vec<String> {
    let commands = profile.phases.iter().filter_map(|phase| phase.load.as_ref()).chain(&profile.load.command);
    let mut missing: Vec<String> = commands
        .filter_map(|command| command.first())
        .filter(|program| !is_found(program))
        .cloned()
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn is_found(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    program.contains('/') && Path::new(program).is_file()
        || std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// The soft limit of open files.
fn max_files(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ports(range: &str) -> Option<u32> {
    let (low, high) = range.trim().split_once(char::is_whitespace)?;
    Some(high.trim().parse::<u32>().ok()?.saturating_sub(low.parse().ok()?) + 1)
}

/// Runs with this very profile that are kept.
fn baselines(runs: &Path, profile: &Profile) -> usize {
    let Ok(entries) = fs::read_dir(runs) else { return 0 };
    let texts =
        entries.flatten().take(MAX_RUNS).filter_map(|run| fs::read_to_string(run.path().join(NUMBERS)).ok());
    let alike = texts.filter_map(|text| Numbers::from_text(&text).ok());
    alike.filter(|numbers| numbers.profile_sha256 == profile.sha256).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_audit() {
        let profile = Profile::parse("F", "name = 'x'\n").unwrap();
        let found = find(&profile, &Seen::default());
        let text = text(&found);
        for part in [
            "[READINESS: BLOCKER]\n\nCategory: Pass/Fail Criteria\n\nThe Gap:\n- the profile has no objectives\n",
            "\nImpact if Not Addressed:\n- ",
            "\nRemediation:\n- ",
            "\nVerification:\n- ",
            "### Readiness Score: 5/10\n",
            "### Blockers to Address Before Testing\n\n1. the profile has no objectives\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!(ports(""), None);
        assert!(max_files(std::process::id()).is_some_and(|n| n > 0));
        assert!(is_found("sh") && is_found("/bin/sh") && !is_found("no-such-program-here"));
    }

    #[test]
    fn earlier_runs_of_the_profile_are_baselines() {
        let runs = tempfile::tempdir().unwrap();
        let profile = std::sync::Arc::new(Profile::builtin().unwrap());
        assert_eq!(baselines(runs.path(), &profile), 0);
        let phases = crate::aggregate::Phases::new(std::sync::Arc::clone(&profile));
        let numbers = Numbers::of(
            &crate::event::Summary::default(),
            &profile,
            &phases,
            &crate::event::Course::default(),
        );
        fs::create_dir(runs.path().join("a")).unwrap();
        fs::write(runs.path().join("a").join(NUMBERS), numbers.to_text()).unwrap();
        assert_eq!(baselines(runs.path(), &profile), 1);
        assert_eq!(baselines(runs.path(), &Profile::parse("F", "name = 'x'").unwrap()), 0);
    }
}
