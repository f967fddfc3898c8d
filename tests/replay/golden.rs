//! Golden reports: each folder of `tests/golden` holds a recording, its profile, and the report that must come
//! of them, to the byte. The head of each profile says what the run was and which numbers to expect, so that a
//! report can be checked by hand.
//!
//! After a change that is meant: `PROBE_BLESS=1 cargo test -p probe-tests --test replay`, then read the diff.

mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
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
        ensure!([root, suite].iter().all(|at| at.attribute(attribute) == Some(&wanted)), "{attribute}");
    }
    for case in named("testcase") {
        ensure!(case.attribute("name").is_some() && case.attribute("classname").is_some());
        let known = ["properties", "failure", "error"];
        let mut children = case.children().filter(roxmltree::Node::is_element);
        ensure!(children.all(|child| known.contains(&child.tag_name().name())));
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
