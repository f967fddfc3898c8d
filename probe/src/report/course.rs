//! What the course of a run says about its verdicts: an early end, phases that never came.

use super::build::{ALL_ENDPOINTS, RUN, Span};
use crate::aggregate::Aggregate;
use crate::event::Abort;
use crate::profile::Profile;
use crate::slo::{Confidence, Judgement, Verdict, judge, unbound};

/// A rule that ended the run is a verdict of its own, and decides it.
pub(super) fn aborted(abort: &Abort, start_ns: u64) -> Judgement {
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
pub(super) fn unplayed(profile: &Profile, spans: &[Span<'_>], is_finished: bool) -> Vec<Judgement> {
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
