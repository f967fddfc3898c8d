//! What the budget of a run did to its report: the section, what is not seen any more, and what cannot be judged.

use super::build::Span;
use super::model::{Budget, BudgetStep};
use crate::event::{BlindSpot, Course, GivenUp, Sample, StepDown, Summary};
use crate::profile::{Profile, StageBy};

const NS_PER_S: f64 = 1e9;

/// A share of one core, as fine as a budget can be given.
pub fn of_a_core(ratio: f64) -> String {
    let text = format!("{:.4}", ratio * 100.0);
    format!("{} % of a core", text.trim_end_matches('0').trim_end_matches('.'))
}

/// See [`super::model::Health::budget`].
pub(super) fn section(summary: &Summary, course: &Course) -> Option<Budget> {
    summary.budget.map(|budget| Budget {
        limit: budget.limit,
        kept: budget.kept,
        cost: budget.cost,
        steps: course
            .steps
            .iter()
            .map(|step| BudgetStep {
                at_s: at_s(step, summary),
                what: step.what.to_string(),
                cost_before: step.cost_before,
            })
            .collect(),
    })
}

/// All of it in one sentence.
pub(super) fn sentence(budget: &Budget) -> String {
    let cost = budget.cost.map_or_else(|| "it was not measured".to_owned(), of_a_core);
    let kept = match budget.kept {
        Some(true) => format!("kept: {cost}"),
        Some(false) => format!("not kept: {cost}"),
        None => format!("not known to be kept: {cost}"),
    };
    let since = if budget.steps.is_empty() || budget.cost.is_none() { "" } else { " since the last step" };
    let steps = budget.steps.iter().map(|step| {
        format!("; {} from {:.1} s on, at {}", step.what, step.at_s, of_a_core(step.cost_before))
    });
    format!("{}, {kept}{since}{}", of_a_core(budget.limit), steps.collect::<String>())
}

/// What was not seen, with what each step took from view.
pub(super) fn blind_spots(summary: &Summary, course: &Course) -> Vec<BlindSpot> {
    let given_up = course.steps.iter().map(|step| {
        let at_s = at_s(step, summary);
        let (what, without) = match step.what {
            GivenUp::Statements => (
                format!("SQLite statements, and waits for shared connections, from {at_s:.1} s on"),
                "; --skip sqlite-statements leaves them off from the start",
            ),
            GivenUp::Connections(Sample { one_in }) => (
                format!(
                    "all but 1 in {one_in} connections from {at_s:.1} s on: counts and rates of accepts, requests, \
                     calls, WebSockets and stages told by requests are those of the sample, and no lock wait is joined with \
                     a request"
                ),
                "",
            ),
        };
        let limit = summary.budget.map_or_else(String::new, |budget| format!(" of {}", of_a_core(budget.limit)));
        BlindSpot {
            what,
            why: format!("the run cost {}, over its budget{limit}", of_a_core(step.cost_before)),
            remedy: format!("a larger --budget, or none{without}"),
        }
    });
    summary.blind_spots.iter().cloned().chain(given_up).collect()
}

/// That the budget was not kept.
pub(super) fn warning(summary: &Summary) -> Option<String> {
    let budget = summary.budget.filter(|budget| budget.kept == Some(false))?;
    let cost = budget.cost.map_or_else(String::new, |cost| format!(": it cost {}", of_a_core(cost)));
    Some(format!(
        "The run did not keep its budget of {}{cost}. What else it sees cannot be given up; watch fewer things with \
         --skip, or allow it more.",
        of_a_core(budget.limit)
    ))
}

/// Why counts and rates of a phase are those of a sample only.
pub(super) fn sampled(summary: &Summary, course: &Course, span: &Span<'_>) -> Option<String> {
    let mut samples = Vec::new();
    for step in course.steps.iter().rev() {
        let GivenUp::Connections(Sample { one_in }) = step.what else { continue };
        let at_s = at_s(step, summary);
        if at_s < span.phase.end_s {
            samples.push((one_in, at_s));
        }
        if at_s <= span.phase.start_s {
            break;
        }
    }
    let ((one_in, at_s), before) = samples.split_first()?;
    let before: Vec<String> =
        before.iter().map(|(one_in, at_s)| format!(", 1 in {one_in} from {at_s:.1} s on")).collect();
    let before = before.concat();
    let is_uneven = samples.last().is_some_and(|(_, at_s)| *at_s > span.phase.start_s);
    let uneven = if is_uneven { ", so that the time before weighs more" } else { "" };
    Some(format!("1 in {one_in} connections was followed from {at_s:.1} s on{before}{uneven}"))
}

/// Why statements of a phase say nothing.
pub(super) fn without_statements(summary: &Summary, course: &Course, span: &Span<'_>) -> Option<String> {
    let step = course.steps.iter().find(|step| step.what == GivenUp::Statements)?;
    let at_s = at_s(step, summary);
    (at_s < span.phase.end_s)
        .then(|| format!("SQLite statements were not seen from {at_s:.1} s on, to keep the budget"))
}

/// The same of stages: where requests tell them, or how they are to be read, all that is said of them is in doubt.
pub(super) fn sampled_stages(
    summary: &Summary,
    course: &Course,
    span: &Span<'_>,
    profile: &Profile,
) -> Option<String> {
    let rules = &profile.stages;
    let is_request = |by: &StageBy| matches!(by, StageBy::Endpoint { .. });
    let is_told = rules.rules.iter().any(|rule| is_request(&rule.by))
        || !rules.edits.is_empty()
        || !rules.resumes.is_empty();
    sampled(summary, course, span).filter(|_| is_told)
}

fn at_s(step: &StepDown, summary: &Summary) -> f64 {
    step.ts_ns.saturating_sub(summary.start_ns) as f64 / NS_PER_S
}
