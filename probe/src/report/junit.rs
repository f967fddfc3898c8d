//! The verdicts as JUnit XML: one test case per judgement, with its evidence as its output: what shows test results
//! shows that, and the strict ones among them take no properties of a case.
//!
//! An inconclusive verdict is an `error`, never `skipped`: what shows test results takes skipped ones for fine.

use quick_junit::{NonSuccessKind, Property, Report as Suites, TestCase, TestCaseStatus, TestSuite};

use super::Renderer;
use super::model::Report;
use super::text::format::quantity;
use crate::slo::{Judgement, Verdict};

/// The report for what shows test results.
#[derive(Clone, Copy, Debug)]
pub struct Junit;

impl Renderer for Junit {
    fn render(&self, report: &Report) -> String {
        let mut suite = TestSuite::new(format!("probe: {}", report.run.profile.name));
        let facts = [
            ("run", report.run.id.clone()),
            ("started_at", report.run.started_at.clone()),
            ("host", report.run.host.clone()),
            ("kernel", report.run.kernel.clone()),
            ("target", report.run.target.cmdline.clone()),
            ("profile_sha256", report.run.profile.sha256.clone()),
            ("verdict", report.verdict.to_string()),
        ];
        suite.add_properties(facts.map(|(name, value)| Property::new(name, value)));
        suite.add_test_cases(
            report.objectives.iter().map(|judgement| case(judgement, &report.run.profile.name)),
        );
        if report.objectives.is_empty() {
            // An empty suite passes everywhere; nothing judged is no pass.
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message("nothing was judged: the profile has no objectives").set_type("inconclusive");
            let mut case = TestCase::new("objectives", status);
            case.set_classname(report.run.profile.name.as_str());
            suite.add_test_case(case);
        }
        let mut suites = Suites::new("probe");
        suites.add_test_suite(suite);
        // Serialising into memory does not fail.
        let text = suites.to_string().unwrap_or_default();
        // At the root strict readers know no such count; the first one is the root's.
        let mut text = text.replacen(" skipped=\"0\"", "", 1);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

fn case(judgement: &Judgement, profile: &str) -> TestCase {
    let level = |value| quantity(value, judgement.unit);
    let status = match judgement.verdict {
        Verdict::Pass | Verdict::Warn => TestCaseStatus::success(),
        Verdict::Fail => {
            let value = judgement.value.map_or_else(|| "none".to_owned(), level);
            let reason = judgement.reason.as_ref().map_or_else(String::new, |reason| format!("; {reason}"));
            let message = format!(
                "{} of {} is {value}, limit {}{reason}",
                judgement.metric,
                judgement.subject,
                level(judgement.limit)
            );
            non_success(NonSuccessKind::Failure, judgement.verdict, &message)
        }
        Verdict::Inconclusive => {
            let reason = judgement.reason.as_deref().unwrap_or("not judged");
            non_success(NonSuccessKind::Error, judgement.verdict, reason)
        }
    };
    let mut case =
        TestCase::new(format!("{}: {} of {}", judgement.id, judgement.metric, judgement.subject), status);
    case.set_classname(format!("{profile}.{}", judgement.phase));
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let evidence = [
        ("verdict", Some(judgement.verdict.to_string())),
        ("value", number(judgement.value)),
        ("target", number(Some(judgement.target))),
        ("limit", number(Some(judgement.limit))),
        ("margin", number(judgement.margin)),
        ("interval_low", number(judgement.interval.map(|(low, _)| low))),
        ("interval_high", number(judgement.interval.map(|(_, high)| high))),
        ("unit", serde_json::to_value(judgement.unit).ok().and_then(|unit| unit.as_str().map(str::to_owned))),
        ("samples", Some(judgement.samples.to_string())),
        ("phase", Some(judgement.phase.clone())),
    ];
    let known = evidence.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}\n", value?)));
    case.set_system_out(known.collect::<String>());
    case
}

fn non_success(kind: NonSuccessKind, verdict: Verdict, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message).set_type(verdict.to_string());
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_fail_is_a_failure_and_a_doubt_is_an_error() {
        let mut report = report();
        let model = report.objectives[0].clone();
        for (verdict, reason) in [(Verdict::Fail, None), (Verdict::Inconclusive, Some("no <data>\u{1b}"))] {
            report.objectives.push(Judgement { verdict, reason: reason.map(str::to_owned), ..model.clone() });
        }
        let text = Junit.render(&report);
        assert!(
            text.contains("tests=\"3\"") && text.contains("failures=\"1\"") && text.contains("errors=\"1\""),
            "{text}"
        );
        assert!(
            text.contains("message=\"latency.p95 of all endpoints is 10.0 ms, limit 50.0 ms\""),
            "{text}"
        );
        assert!(text.contains("message=\"no &lt;data&gt;\"") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("\nsamples: 100\n"), "{text}");
    }

    #[test]
    fn nothing_judged_is_no_pass() {
        let mut report = report();
        report.objectives.clear();
        assert!(Junit.render(&report).contains("errors=\"1\""));
    }
}
