//! One objective, one subject, one judgement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binomial::{order_statistic_ranks, samples_for_quantile, samples_for_share, share_interval};
use super::verdict::Verdict;
use crate::aggregate::{Aggregate, Durations, Evidence, Subject};
use crate::profile::{Kind, Objective, Percentile, Profile, Shape, Stat, Unit, nearest};

/// Past this share of lost events or untimed requests nothing is certain.
const MAX_UNSEEN: f64 = 0.001;
/// From here on the mean of durations is near enough to normal for its interval.
const MIN_SAMPLES_OF_MEAN: u64 = 30;
/// Standard errors on either side of a 95 % interval.
const Z: f64 = 1.96;
const NS_PER_S: f64 = 1e9;

/// How far what was seen in a phase can be trusted.
#[derive(Clone, Debug)]
pub struct Confidence {
    /// Length of the phase, seconds.
    pub duration_s: f64,
    /// Lost events among all.
    pub loss_ratio: f64,
    /// Connections that could not be decoded among all.
    pub undecoded_ratio: f64,
    /// The run was seen to its end.
    pub is_finished: bool,
    /// Why the durations of requests say nothing: they had a trend.
    pub drift: Option<String>,
    /// Why rates say nothing: the phase was too short for one.
    pub too_short: Option<String>,
    /// Why counts and rates of what is seen on connections say nothing: not all were followed.
    pub sampled: Option<String>,
    /// The same of stages, where requests tell them.
    pub sampled_stages: Option<String>,
    /// Why statements say nothing: they were not seen all the time.
    pub without_statements: Option<String>,
    /// Why nothing that was measured in the phase says anything: its load or its network was not as planned.
    pub doubt: Option<String>,
}

/// An objective with its verdict and the evidence for it.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Judgement {
    /// Of the objective.
    pub id: String,
    /// What was judged: an endpoint, a stage, ..., or `all endpoints`.
    pub subject: String,
    /// What was judged.
    pub metric: String,
    /// The phase in which it was judged.
    pub phase: String,
    /// The measured value, in `unit`; null when there is none, or too little data for one.
    pub value: Option<f64>,
    /// As good as this or better is a pass.
    pub target: f64,
    /// Worse than this is a fail.
    pub limit: f64,
    /// Of value, target, limit, margin and interval.
    pub unit: Unit,
    /// Distance from the value to the limit: above 0 on its good side, below 0 on the other.
    pub margin: Option<f64>,
    /// How many things the value is made of.
    pub samples: u64,
    /// What one of them is.
    #[serde(default = "request")]
    pub sample: String,
    /// The 95 % interval of the value; null where the value is no estimate.
    pub interval: Option<(f64, f64)>,
    /// See [`Verdict`].
    pub verdict: Verdict,
    /// Why it is inconclusive, or what else there is to say.
    pub reason: Option<String>,
    /// It decides the run: see [`overall`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key: bool,
}

/// What reports that do not say counted.
fn request() -> String {
    "request".to_owned()
}

/// The verdict of a run. Where objectives are marked as key they alone decide, and what else is not a pass makes the run
/// warn at most; otherwise all are key.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    let has_key = judgements.iter().any(|judgement| judgement.key);
    Verdict::overall(judgements.iter().map(|judgement| match judgement.verdict {
        Verdict::Fail | Verdict::Inconclusive if has_key && !judgement.key => Verdict::Warn,
        verdict => verdict,
    }))
}

/// Judges every objective that binds to the phase: one judgement for each, or one per subject that its pattern matches.
pub fn judge(
    profile: &Profile,
    aggregate: &Aggregate,
    phase: &str,
    confidence: &Confidence,
) -> Vec<Judgement> {
    let mut judgements = Vec::new();
    for objective in profile.objectives.iter().filter(|objective| objective.binds_to(phase)) {
        let mut push = |subject: &str, finding: Finding| {
            judgements.push(finding.into_judgement(objective, subject, phase, confidence));
        };
        let Some(pattern) = &objective.subject else {
            push("all endpoints", find(objective, aggregate.overall(), confidence));
            continue;
        };
        let kind = pattern.kind();
        let subjects = aggregate.subjects(kind);
        let mut is_seen = false;
        for (name, subject) in subjects.iter().filter(|(name, _)| pattern.matches(name)) {
            is_seen = true;
            push(&kind.subject(name), find(objective, *subject, confidence));
        }
        if !is_seen {
            let hint = nearest(pattern.as_str(), subjects.iter().map(|(name, _)| name.as_ref()))
                .map_or_else(String::new, |name| format!("; the nearest that was seen is `{name}`"));
            let why = format!("{}{hint}", kind.unseen());
            push(&kind.subject(pattern.as_str()), Finding::doubt(None, 0, why));
        }
    }
    judgements
}

/// Objectives that bind to none of these phases: each is inconclusive.
pub fn unbound(profile: &Profile, phases: &[&str], confidence: &Confidence) -> Vec<Judgement> {
    let is_unbound = |objective: &&Objective| !phases.iter().any(|phase| objective.binds_to(phase));
    let unbound = profile.objectives.iter().filter(is_unbound);
    unbound
        .map(|objective| {
            let subject = objective.subject.as_ref();
            let subject = subject.map_or_else(
                || "all endpoints".to_owned(),
                |pattern| pattern.kind().subject(pattern.as_str()),
            );
            let phase = objective.phase.as_deref().unwrap_or("run");
            let confidence = Confidence {
                doubt: Some("no phase of this name was played".to_owned()),
                ..confidence.clone()
            };
            Finding::doubt(None, 0, "no data").into_judgement(objective, &subject, phase, &confidence)
        })
        .collect()
}

/// What the numbers say about an objective, before the run as a whole is doubted.
struct Finding {
    value: Option<f64>,
    samples: u64,
    interval: Option<(f64, f64)>,
    doubt: Option<String>,
}

impl Finding {
    fn doubt(value: Option<f64>, samples: u64, why: impl Into<String>) -> Self {
        Self { value, samples, interval: None, doubt: Some(why.into()) }
    }

    fn fact(value: f64, samples: u64) -> Self {
        Self { value: Some(value), samples, interval: None, doubt: None }
    }

    fn into_judgement(
        self,
        objective: &Objective,
        subject: &str,
        phase: &str,
        run: &Confidence,
    ) -> Judgement {
        let doubt = doubt_of_run(run, objective).or(self.doubt);
        let verdict = match self.value {
            Some(value) if doubt.is_none() => grade(objective, value),
            _ => Verdict::Inconclusive,
        };
        let margin = self.value.map(|value| {
            if objective.metric.quantity.higher_is_better {
                value - objective.limit
            } else {
                objective.limit - value
            }
        });
        Judgement {
            id: objective.id.clone(),
            subject: subject.to_owned(),
            metric: objective.metric.to_string(),
            phase: phase.to_owned(),
            value: self.value,
            target: objective.target,
            limit: objective.limit,
            unit: objective.metric.unit(),
            margin,
            samples: self.samples,
            sample: objective.metric.quantity.sample.to_owned(),
            interval: self.interval,
            verdict,
            reason: doubt.or_else(|| remark(run, objective)),
            key: objective.key,
        }
    }
}

fn doubt_of_run(run: &Confidence, objective: &Objective) -> Option<String> {
    if !run.is_finished {
        return Some("the recording has no end, so that it is unknown what was lost".to_owned());
    }
    let share = |ratio: f64, what: &str| {
        (ratio > MAX_UNSEEN).then(|| format!("{:.2} % of the {what}, more than 0.1 %", ratio * 100.0))
    };
    share(run.loss_ratio, "events were lost")
        .or_else(|| run.doubt.clone())
        .or_else(|| {
            share(run.undecoded_ratio, "connections could not be decoded")
                .filter(|_| objective.metric.kind.is_decoded())
        })
        .or_else(|| doubt_of_budget(run, objective))
        .or_else(|| match (objective.metric.kind, objective.metric.quantity.shape) {
            (Kind::Endpoint, Shape::Durations) => run.drift.clone(),
            (_, Shape::Rate) => run.too_short.clone(),
            _ => None,
        })
}

/// What the run gave up to keep its budget takes these from view, or leaves a part that says nothing about the whole.
fn doubt_of_budget(run: &Confidence, objective: &Objective) -> Option<String> {
    let quantity = objective.metric.quantity;
    let doubt = match (objective.metric.kind, quantity.name) {
        (Kind::Endpoint | Kind::WebSocket | Kind::Outgoing, _) if quantity.is_counted() => &run.sampled,
        // With which request a wait is joined depends on all that were there.
        (Kind::Database, "request_contention") => &run.sampled,
        (Kind::Database, "statement" | "mutex_wait") => &run.without_statements,
        (Kind::Stage | Kind::Pipeline, _) | (Kind::Gpu, "energy_per_document") => &run.sampled_stages,
        _ => &None,
    };
    doubt.clone()
}

/// What there is to say about a value that is judged: a sample of the connections has the durations and shares of all,
/// within its interval.
fn remark(run: &Confidence, objective: &Objective) -> Option<String> {
    let is_of_connections =
        matches!(objective.metric.kind, Kind::Endpoint | Kind::WebSocket | Kind::Outgoing);
    run.sampled.clone().filter(|_| is_of_connections)
}

/// Where a value stands.
fn grade(objective: &Objective, value: f64) -> Verdict {
    let is_within =
        |level: f64| if objective.metric.quantity.higher_is_better { value >= level } else { value <= level };
    if is_within(objective.target) {
        Verdict::Pass
    } else if is_within(objective.limit) {
        Verdict::Warn
    } else {
        Verdict::Fail
    }
}

fn find(objective: &Objective, subject: &dyn Subject, run: &Confidence) -> Finding {
    let metric = objective.metric;
    match (subject.evidence(metric), metric.stat) {
        (Some(Evidence::Durations { durations, untimed }), Some(stat)) => {
            find_duration(objective, durations, untimed, stat)
        }
        (Some(Evidence::Share { part, whole }), _) => find_share(objective, part, whole),
        (Some(Evidence::ShareBetween { least, most, whole }), _) => {
            find_share_between(objective, least, most, whole)
        }
        (Some(Evidence::Count { count, samples }), _) => {
            if samples == 0 {
                no_data()
            } else if metric.quantity.shape != Shape::Rate {
                Finding::fact(count as f64, samples)
            } else if run.duration_s > 0.0 {
                Finding::fact(count as f64 / run.duration_s, samples)
            } else {
                Finding::doubt(None, samples, "the run has no length")
            }
        }
        (Some(Evidence::Value { value: Some(value), samples }), _) => Finding::fact(value, samples),
        (Some(Evidence::Doubtful(why)), _) => Finding::doubt(None, 0, why),
        _ => no_data(),
    }
}

fn no_data() -> Finding {
    Finding::doubt(None, 0, "no data")
}

fn find_duration(objective: &Objective, durations: &Durations, untimed: u64, stat: Stat) -> Finding {
    let samples = durations.count();
    let sample = objective.metric.quantity.sample;
    let finding = match stat {
        Stat::Percentile(percentile) => find_percentile(durations, percentile, sample),
        Stat::Mean => find_mean(durations, sample),
        Stat::Max => {
            durations.max_ns().map_or_else(no_data, |ns| Finding::fact(ns as f64 / NS_PER_S, samples))
        }
        Stat::Min => {
            durations.min_ns().map_or_else(no_data, |ns| Finding::fact(ns as f64 / NS_PER_S, samples))
        }
    };
    let untimed_ratio = untimed as f64 / (samples + untimed).max(1) as f64;
    if finding.doubt.is_some()
        || untimed_ratio <= MAX_UNSEEN
        || holds_anyway(objective, durations, stat, untimed)
    {
        return finding;
    }
    let doubt =
        format!("{:.2} % of the {sample}s could not be timed, more than 0.1 %", untimed_ratio * 100.0);
    Finding { doubt: Some(doubt), ..finding }
}

fn find_percentile(durations: &Durations, percentile: Percentile, sample: &str) -> Finding {
    let samples = durations.count();
    if samples == 0 {
        return no_data();
    }
    let needed = samples_for_quantile(percentile.share());
    let ranks = order_statistic_ranks(samples, percentile.share());
    let Some((low, high)) = ranks else {
        return Finding::doubt(None, samples, format!("{samples} of at least {needed} {sample}s"));
    };
    // The estimate's own rank lies between the ends of its interval: one ascending pass finds all three.
    match durations
        .at_ranks_ns([low, percentile.rank(samples), high])
        .map(|ns| ns.map(|ns| ns as f64 / NS_PER_S))
    {
        Some([low, value, high]) => {
            Finding { value: Some(value), samples, interval: Some((low, high)), doubt: None }
        }
        None => no_data(),
    }
}

fn find_mean(durations: &Durations, sample: &str) -> Finding {
    let samples = durations.count();
    match (durations.mean_ns(), durations.mean_error_ns()) {
        (None, _) => no_data(),
        (Some(mean), Some(error)) if samples >= MIN_SAMPLES_OF_MEAN => {
            let interval = ((mean - Z * error).max(0.0) / NS_PER_S, (mean + Z * error) / NS_PER_S);
            Finding { value: Some(mean / NS_PER_S), samples, interval: Some(interval), doubt: None }
        }
        _ => Finding::doubt(None, samples, format!("{samples} of at least {MIN_SAMPLES_OF_MEAN} {sample}s")),
    }
}

/// The verdict would be the same had all untimed requests been the quickest of all, or the slowest.
fn holds_anyway(objective: &Objective, durations: &Durations, stat: Stat, untimed: u64) -> bool {
    let Stat::Percentile(percentile) = stat else { return false };
    let timed = durations.count();
    let rank = percentile.rank(timed + untimed);
    let (quickest, slowest) = (rank.saturating_sub(untimed), rank);
    durations.at_ranks_ns([quickest.max(1), slowest.min(timed)]).is_some_and(|[low_ns, high_ns]| {
        let low = if quickest == 0 { 0.0 } else { low_ns as f64 / NS_PER_S };
        let high = if slowest > timed { f64::INFINITY } else { high_ns as f64 / NS_PER_S };
        grade(objective, low) == grade(objective, high)
    })
}

fn find_share(objective: &Objective, part: u64, whole: u64) -> Finding {
    if whole == 0 {
        return no_data();
    }
    let quantity = objective.metric.quantity;
    let value = part as f64 / whole as f64;
    let interval = share_interval(part, whole);
    let tolerated = if quantity.higher_is_better { 1.0 - objective.limit } else { objective.limit };
    let needed = samples_for_share(tolerated);
    // Few requests can prove a fail (ten of ten are errors), never that it is none.
    let is_proven =
        if quantity.higher_is_better { interval.1 < objective.limit } else { interval.0 > objective.limit };
    let doubt =
        (whole < needed && !is_proven).then(|| format!("{whole} of at least {needed} {}s", quantity.sample));
    Finding { value: Some(value), samples: whole, interval: Some(interval), doubt }
}

/// As the worse of two shares, where the verdict is the same with either.
fn find_share_between(objective: &Objective, least: u64, most: u64, whole: u64) -> Finding {
    let [better, worse] =
        if objective.metric.quantity.higher_is_better { [most, least] } else { [least, most] };
    let finding = find_share(objective, worse, whole);
    let share = |part: u64| part as f64 / whole.max(1) as f64;
    if finding.doubt.is_some() || grade(objective, share(better)) == grade(objective, share(worse)) {
        return finding;
    }
    let percent = |part: u64| share(part) * 100.0;
    let doubt =
        format!("between {:.1} % and {:.1} %: of some it cannot be told", percent(least), percent(most));
    Finding { doubt: Some(doubt), ..finding }
}

#[cfg(test)]
mod tests;
