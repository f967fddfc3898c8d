//! Golden reports: each folder of `tests/golden` holds a recording, its profile, and the report that must come
//! of them, to the byte. The head of each profile says what the run was and which numbers to expect, so that a
//! report can be checked by hand.
//!
//! After a change that is meant: `PROBE_BLESS=1 cargo test -p probe-tests --test replay`, then read the diff.

mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use probe::analysis::Analysis;
use probe::engine::record;
use probe::profile::Profile;
use probe::report::{Html, Json, Junit, Markdown, Renderer, Report, Text};
use probe::slo::Verdict;

/// The published JSON Schema of `report.json`.
const SCHEMA: &str = "../profiles/report.schema.json";

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
    let mut trials: Vec<Trial> = cases.into_iter().map(trial).collect();
    trials.push(Trial::test("schema", || {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA);
        compare(&file, &probe::report::schema()).map_err(|error| Failed::from(format!("{error:#}")))
    }));
    trials.push(Trial::test("schema::junit_that_is_none", || {
        junit_that_is_none().map_err(|error| Failed::from(format!("{error:#}")))
    }));
    trials.extend(verdicts::trials());
    Ok(trials)
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
    let forms: [(&str, &dyn Renderer); 4] = [
        ("report.json", &Json),
        ("report.txt", &Text { colour: false }),
        ("report.md", &Markdown),
        ("junit.xml", &Junit),
    ];
    for (name, form) in forms {
        compare(&case.join(name), &form.render(&report))?;
    }
    junit(&report)?;
    if let Some(why) = is_no_junit(&Junit.render(&report))? {
        bail!("junit.xml is not as its schema says: {why}");
    }
    let schema = serde_json::from_str(&probe::report::schema())?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| anyhow!("no schema: {error}"))?;
    let value = serde_json::from_str(&Json.render(&report))?;
    if let Some(error) = validator.iter_errors(&value).next() {
        bail!("report.json is not as its schema says, at `{}`: {error}", error.instance_path());
    }
    // The same run again gives the same bytes: nothing depends on addresses or the order of a hash map.
    ensure!(
        Json.render(&replay(case, &profile)?) == Json.render(&report),
        "a second replay gave another report"
    );
    ensure!(Html.render(&replay(case, &profile)?) == Html.render(&report), "a second page is another one");
    // What was saved shows the same again.
    let saved: Report = serde_json::from_str(&Json.render(&report))?;
    ensure!(saved == report, "the report is another one after it was saved");
    Ok(())
}

/// The form of JUnit files as their readers share it: suites that hold cases, whose counts are true, one case per
/// judgement, with a failure for each fail and an error for each doubt.
fn junit(report: &Report) -> Result<()> {
    let text = Junit.render(report);
    let document = roxmltree::Document::parse(&text)?;
    let root = document.root_element();
    let named = |name: &'static str| root.descendants().filter(move |node| node.has_tag_name(name));
    let expected =
        |verdict| report.objectives.iter().filter(|judgement| judgement.verdict == verdict).count();
    let suite = named("testsuite").next().context("no testsuite")?;
    ensure!(root.has_tag_name("testsuites") && suite.parent_element() == Some(root));
    for (node, attribute, wanted) in [
        // Nothing judged is an error of its own.
        ("testcase", "tests", report.objectives.len().max(1)),
        ("failure", "failures", expected(Verdict::Fail)),
        ("error", "errors", expected(Verdict::Inconclusive) + usize::from(report.objectives.is_empty())),
        ("skipped", "skipped", 0),
    ] {
        ensure!(named(node).count() == wanted, "{} of {node}, {wanted} wanted", named(node).count());
        let wanted = wanted.to_string();
        ensure!(suite.attribute(attribute) == Some(&wanted), "{attribute}");
        ensure!(root.attribute(attribute).is_none_or(|count| count == wanted), "{attribute} of all");
    }
    for case in named("testcase") {
        ensure!(case.attribute("name").is_some() && case.attribute("classname").is_some());
        let evidence = case.children().find(|child| child.has_tag_name("system-out"));
        let is_nothing = report.objectives.is_empty();
        let evidence = evidence.and_then(|node| node.text()).unwrap_or_default();
        ensure!(is_nothing || evidence.contains("verdict: ") && evidence.contains("samples: "), "{evidence}");
    }
    Ok(())
}

/// Why a JUnit file is not as `junit.xsd` says, in the words of libxml2.
fn is_no_junit(text: &str) -> Result<Option<String>> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("junit.xsd");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("junit.xml");
    fs::write(&file, text)?;
    let output =
        Command::new("xmllint").args(["--noout", "--nonet", "--schema"]).arg(schema).arg(file).output();
    let output = output.context("failed to run `xmllint`: `cargo xtask setup` installs it")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3 is a file that is not valid; anything else is no answer.
    match output.status.code() {
        Some(0) => Ok(None),
        Some(3) => Ok(Some(said)),
        _ => bail!("xmllint: {} {said}", output.status),
    }
}

/// The schema refuses what its readers would refuse.
fn junit_that_is_none() -> Result<()> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/failing/junit.xml");
    let good = fs::read_to_string(case)?;
    ensure!(is_no_junit(&good)?.is_none());
    for (what, with) in [
        (" classname=", " klass="),
        ("type=\"fail\"", "type=\"failed\""),
        ("<system-out>", "<properties/><system-out>"),
        ("<testsuites name=\"probe\"", "<testsuites name=\"probe\" skipped=\"0\""),
        ("tests=\"", "tests=\"-"),
        ("<system-out>", "<skipped/><system-out>"),
        ("<error ", "<failure message=\"x\" type=\"fail\"/><error "),
    ] {
        let bad = good.replacen(what, with, 1);
        ensure!(bad != good, "`{what}` is not in the file");
        ensure!(is_no_junit(&bad)?.is_some(), "`{with}` was taken");
    }
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
