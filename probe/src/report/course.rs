//! What the course of a run says about its verdicts: an early end, phases that never came, that had not settled or were
//! too short, clocks that jumped.

use super::build::{ALL_ENDPOINTS, RUN, Span};
use crate::aggregate::{Aggregate, Phases};
use crate::event::{Abort, Course, EndedBy, Summary};
use crate::profile::Profile;
use crate::slo::{Confidence, Judgement, Verdict, judge, unbound};

/// A rate over less than this is that of a few requests, seconds.
const MIN_RATE_S: f64 = 1.0;
/// Less than this is the work of a time service, seconds.
const MAX_STEP_S: f64 = 1.0;
/// Less than this is rounding, seconds.
const MAX_SUSPENDED_S: f64 = 0.1;
const NS_PER_S: f64 = 1e9;

/// Why the durations of a phase say nothing: they had a trend. A run without phases has no plan to have settled by.
pub(super) fn drift(summary: &Summary, phases: &Phases, span: &Span<'_>, from: f64) -> Option<String> {
    let (_, series) = phases.whole().series().next().filter(|_| !phases.parts().is_empty())?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a moment of the run")]
    let at = |s: f64| summary.start_ns.saturating_add((s.max(0.0) * NS_PER_S) as u64);
    let (start_s, end_s) = (span.phase.start_s, span.phase.end_s);
    let drift = series.drift(at(start_s + (end_s - start_s) * from), at(end_s))?;
    let ms = |ns: u64| format!("{:.1} ms", ns as f64 / 1e6);
    Some(format!(
        "still drifting: the median latency went from {} in the first third of {} windows to {} in the last",
        ms(drift.first_ns),
        drift.windows,
        ms(drift.last_ns)
    ))
}

/// Why the rates of a phase say nothing.
pub(super) fn too_short(phases: &Phases, span: &Span<'_>) -> Option<String> {
    let is_short = !phases.parts().is_empty() && span.duration_s < MIN_RATE_S;
    is_short.then(|| {
        format!("the phase lasted {:.2} s, less than the second that a rate is over", span.duration_s)
    })
}

/// Why nothing says anything: the machine was not there all the time.
pub(super) fn suspended(summary: &Summary) -> Option<String> {
    let is_long = summary.suspended_s > MAX_SUSPENDED_S;
    is_long.then(|| format!("the machine was suspended for {:.1} s during the run", summary.suspended_s))
}

/// What else the course of the run gives to think about.
pub(super) fn warnings(summary: &Summary, phases: &Phases, spans: &[Span<'_>]) -> Vec<String> {
    let next_is_judged = |at: usize| spans.get(at + 1).is_some_and(|next| next.phase.judged);
    let warm_ups = spans.iter().enumerate().filter(|(at, span)| !span.phase.judged && next_is_judged(*at));
    let unsettled = warm_ups.filter_map(|(_, span)| {
        // Its beginning may well be slow: that is what it is for.
        let drift = drift(summary, phases, span, 0.5)?;
        Some(format!("Phase `{}` had not settled: {drift}. Make it longer.", span.phase.name))
    });
    let step_s = summary.clock_step_s;
    let stepped = (step_s.abs() > MAX_STEP_S).then(|| {
        format!(
            "The wall clock was set by {step_s:+.1} s during the run. Nothing here is measured by it, but times of day in \
             other logs do not fit; find out what sets the clock."
        )
    });
    unsettled.chain(stepped).collect()
}

/// The verdicts that come of the course itself.
pub(super) fn verdicts(
    course: &Course,
    summary: &Summary,
    profile: &Profile,
    spans: &[Span<'_>],
) -> Vec<Judgement> {
    let mut judgements = unplayed(profile, spans, summary.ended_by != EndedBy::Unfinished);
    judgements.extend(course.abort.as_ref().map(|abort| aborted(abort, summary.start_ns)));
    judgements
}

/// A rule that ended the run is a verdict of its own, and decides it.
fn aborted(abort: &Abort, start_ns: u64) -> Judgement {
    let at_s = abort.ts_ns.saturating_sub(start_ns) as f64 / 1e9;
    Judgement {
        id: abort.rule.clone(),
        subject: abort.subject.clone().unwrap_or_else(|| ALL_ENDPOINTS.to_owned()),
        metric: abort.metric.clone(),
        phase: abort.phase.clone().unwrap_or_else(|| RUN.to_owned()),
        value: Some(abort.value),
        target: abort.limit,
        limit: abort.limit,
        unit: abort.unit,
        margin: Some(-(abort.value - abort.limit).abs()),
        samples: abort.samples,
        sample: "request".to_owned(),
        interval: None,
        verdict: Verdict::Fail,
        reason: Some(format!("it ended the run at {at_s:.1} s, by the {:.0} s before", abort.window_s)),
        key: true,
    }
}

/// The objectives of phases that the run did not come to: nothing is no pass.
fn unplayed(profile: &Profile, spans: &[Span<'_>], is_finished: bool) -> Vec<Judgement> {
    let has = |name: &str| spans.iter().any(|span| span.phase.name == name);
    let is_planned = profile.phases.iter().any(|phase| has(&phase.name));
    let missing: Vec<&str> = profile
        .phases
        .iter()
        .filter(|phase| is_planned && phase.judged && !has(&phase.name))
        .map(|phase| phase.name.as_str())
        .collect();
    let confidence = Confidence {
        duration_s: 0.0,
        loss_ratio: 0.0,
        undecoded_ratio: 0.0,
        is_finished,
        drift: None,
        too_short: None,
        sampled: None,
        sampled_stages: None,
        without_statements: None,
        doubt: Some("the run ended before this phase".to_owned()),
    };
    let nothing = Aggregate::new(profile);
    let mut judgements: Vec<Judgement> =
        missing.iter().flat_map(|name| judge(profile, &nothing, name, &confidence)).collect();
    let judged = spans.iter().filter(|span| span.phase.judged).map(|span| span.phase.name.as_str());
    let all: Vec<&str> = judged.chain(missing).collect();
    judgements.extend(unbound(profile, &all, &confidence));
    judgements
}
