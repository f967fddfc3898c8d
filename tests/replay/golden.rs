//! Golden reports: each folder of `tests/golden` holds a recording, its profile, and the report that must come
//! of them, to the byte. The head of each profile says what the run was and which numbers to expect, so that a
//! report can be checked by hand.
//!
//! After a change that is meant: `PROBE_BLESS=1 cargo test -p probe-tests --test replay`, then read the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use probe::analysis::Analysis;
use probe::engine::record;
use probe::profile::Profile;
use probe::report::{Json, Renderer as _, Report, Text};

/// Set, the reports are written instead of compared.
const BLESS: &str = "PROBE_BLESS";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match trials() {
        Ok(trials) => trials,
        // Without its cases a golden test would pass whatever the reports are.
        Err(error) => vec![Trial::test("golden", move || Err(Failed::from(format!("{error:#}"))))],
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials() -> Result<Vec<Trial>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("failed to read `{}`", folder.display()))? {
        cases.push(entry?.path());
    }
    cases.sort();
    ensure!(!cases.is_empty(), "no cases in `{}`", folder.display());
    Ok(cases.into_iter().map(trial).collect())
}

fn trial(case: PathBuf) -> Trial {
    let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Trial::test(format!("golden::{name}"), move || {
        check(&case).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn check(case: &Path) -> Result<()> {
    let profile = Arc::new(Profile::load(&case.join("profile.toml"))?);
    let report = replay(case, &profile)?;
    for (name, got) in
        [("report.json", Json.render(&report)), ("report.txt", Text { colour: false }.render(&report))]
    {
        compare(&case.join(name), &got)?;
    }
    // The same run again gives the same bytes: nothing depends on addresses or the order of a hash map.
    ensure!(
        Json.render(&replay(case, &profile)?) == Json.render(&report),
        "a second replay gave another report"
    );
    // What was saved shows the same again.
    let saved: Report = serde_json::from_str(&Json.render(&report))?;
    ensure!(saved == report, "the report is another one after it was saved");
    Ok(())
}

fn replay(case: &Path, profile: &Arc<Profile>) -> Result<Report> {
    let mut analysis = Analysis::new(Arc::clone(profile));
    let summary = record::read(&case.join(record::FILE_NAME), |event| analysis.event(&event))?;
    Ok(analysis.finish(&summary))
}

fn compare(path: &Path, got: &str) -> Result<()> {
    if std::env::var_os(BLESS).is_some() {
        return fs::write(path, got).with_context(|| format!("failed to write `{}`", path.display()));
    }
    let wanted = fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let differing = wanted.lines().zip(got.lines()).position(|(wanted, got)| wanted != got);
    let line = differing.unwrap_or_else(|| wanted.lines().count().min(got.lines().count()));
    ensure!(
        wanted == got,
        "{}:{}: the report has changed\n  was {}\n  now {}\nrun with {BLESS}=1 to take the new one, and read the diff",
        path.display(),
        line + 1,
        wanted.lines().nth(line).unwrap_or("(nothing)"),
        got.lines().nth(line).unwrap_or("(nothing)")
    );
    Ok(())
}
