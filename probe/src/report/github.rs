//! Annotations for GitHub's runners: what failed and what could not be judged, where a reviewer sees it.

use std::fmt::Write as _;

use super::model::Report;
use super::text::format::{count, quantity};
use crate::slo::{Judgement, Verdict};

/// More of a kind are dropped by the runner, without a word.
const MAX_OF_A_KIND: usize = 10;

/// Workflow commands, one per line; nothing for a run in which all is well. They are read from either stream of a step.
pub fn annotations(report: &Report) -> String {
    let mut out = String::new();
    for (verdict, command) in
        [(Verdict::Fail, "error"), (Verdict::Inconclusive, "warning"), (Verdict::Warn, "notice")]
    {
        let found: Vec<&Judgement> =
            report.objectives.iter().filter(|judgement| judgement.verdict == verdict).collect();
        // The last place is for the rest, where there is one.
        let n_shown = if found.len() > MAX_OF_A_KIND { MAX_OF_A_KIND - 1 } else { found.len() };
        for judgement in found.iter().take(n_shown) {
            let title = property(&format!("{verdict}: {}", judgement.id));
            let _ = writeln!(out, "::{command} title={title}::{}", data(&said(judgement)));
        }
        if found.len() > n_shown {
            let rest = count((found.len() - n_shown) as u64, &format!("{verdict} verdict"));
            let _ = writeln!(out, "::{command} title=probe::and {rest} more, see the report");
        }
    }
    out
}

fn said(judgement: &Judgement) -> String {
    let level = |value| quantity(value, judgement.unit);
    let value = judgement.value.map_or_else(|| "unknown".to_owned(), level);
    let reason = judgement.reason.as_ref().map_or_else(String::new, |reason| format!("; {reason}"));
    format!(
        "{} of {} is {value} (target {}, limit {}, {}){reason}",
        judgement.metric,
        judgement.subject,
        level(judgement.target),
        level(judgement.limit),
        count(judgement.samples, &judgement.sample)
    )
}

/// As the runner decodes it: a name in a report must not end the command and begin another.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn only_what_is_not_well_is_annotated_and_not_too_much() {
        let mut report = report();
        assert_eq!(annotations(&report), "");
        let model = report.objectives[0].clone();
        report.objectives.extend((0..12).map(|_| Judgement { verdict: Verdict::Fail, ..model.clone() }));
        report.objectives.push(Judgement {
            verdict: Verdict::Inconclusive,
            reason: Some("no data".to_owned()),
            subject: "GET /\n::error::x".to_owned(),
            ..model
        });
        let text = annotations(&report);
        assert_eq!(text.lines().filter(|line| line.starts_with("::error ")).count(), MAX_OF_A_KIND);
        assert!(text.contains("::error title=probe::and 3 fail verdicts more"), "{text}");
        let warning = text.lines().last().unwrap();
        assert!(
            warning.starts_with("::warning title=inconclusive%3A p95::latency.p95 of GET /%0A::error::x is"),
            "{warning}"
        );
    }
}
