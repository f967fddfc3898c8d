//! A run against those before it, like with like only: the same profile, kernel and machine, each phase under the same
//! network condition.
//!
//! What a rule allows is the largest of three: its share of the baselines' median, its floor, and the spread of the
//! baselines themselves, where there are enough to have one. A value beyond that is a fail only if its whole interval
//! is beyond it.

use std::sync::Arc;

use super::Numbers;
use crate::profile::{Objective, Profile, Regression};
use crate::report::Report;
use crate::report::model::{Comparison, LeftOut};
use crate::slo::{Judgement, Verdict, overall};

/// From so many baselines on they have a spread.
const MIN_SPREAD: usize = 3;
/// Median deviations on either side of the median that hold all but 0.3 % of a normal distribution.
const SPREADS: f64 = 3.0 * 1.4826;

/// The report of a run whose verdicts are those of the comparison.
pub fn compare(run: &Numbers, baselines: &[Numbers], profile: &Arc<Profile>) -> Report {
    // Judging the rules' metrics against nothing gives their values, with samples, intervals and doubts.
    let objectives = profile.regressions.iter().map(objective).collect();
    let asked = Arc::new(Profile { objectives, ..Profile::clone(profile) });
    let mut report = run.report(&asked);
    let mut history = Vec::new();
    let mut left_out = Vec::new();
    for baseline in baselines {
        match difference(run, baseline) {
            None => history.push(baseline.report(&asked)),
            Some(why) => left_out.push(LeftOut { run: baseline.summary.run_id.clone(), why }),
        }
    }
    let mut judgements = std::mem::take(&mut report.objectives);
    for judgement in &mut judgements {
        if let Some(rule) = profile.regressions.iter().find(|rule| rule.id == judgement.id) {
            judge(judgement, rule, &report, &history);
        }
    }
    report.verdict = overall(&judgements);
    report.objectives = judgements;
    let baselines = history.iter().map(|baseline| baseline.run.id.clone()).collect();
    report.comparison = Some(Comparison { baselines, left_out });
    report
}

fn objective(rule: &Regression) -> Objective {
    Objective {
        id: rule.id.clone(),
        subject: rule.subject.clone(),
        phase: None,
        key: false,
        metric: rule.metric,
        target: 0.0,
        limit: 0.0,
    }
}

/// Why two runs cannot be compared.
fn difference(run: &Numbers, baseline: &Numbers) -> Option<String> {
    let (own, other) = (&run.summary, &baseline.summary);
    if run.profile_sha256 != baseline.profile_sha256 {
        return Some("it was made with another profile".to_owned());
    }
    [("kernel", &own.kernel, &other.kernel), ("machine", &own.machine, &other.machine)]
        .into_iter()
        .find(|(_, own, other)| own != other)
        .map(|(what, own, other)| format!("its {what} is another: {other}, not {own}"))
}

fn judge(own: &mut Judgement, rule: &Regression, report: &Report, history: &[Report]) {
    let net = |report: &Report| {
        let phase = report.phases.iter().find(|phase| phase.name == own.phase);
        phase.and_then(|phase| phase.net.clone())
    };
    let condition = net(report);
    let same = |other: &&Judgement| {
        (&other.id, &other.subject, &other.phase) == (&own.id, &own.subject, &own.phase)
            && other.reason.is_none()
    };
    let alike = history.iter().filter(|baseline| net(baseline) == condition);
    let mut values: Vec<f64> = alike
        .filter_map(|baseline| baseline.objectives.iter().find(same).and_then(|found| found.value))
        .collect();
    let Some(median) = median(&mut values) else {
        own.verdict = Verdict::Inconclusive;
        own.margin = None;
        own.reason.get_or_insert_with(|| match history {
            [] => "there is no baseline to compare with".to_owned(),
            _ => "no baseline has a value for it that can be trusted, under the same network condition"
                .to_owned(),
        });
        return;
    };
    let mut off: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    let spread = if values.len() < MIN_SPREAD { None } else { self::median(&mut off) };
    let allowed = (median * rule.worse_by).max(rule.floor).max(spread.unwrap_or(0.0) * SPREADS);
    let higher_is_better = rule.metric.quantity.higher_is_better;
    own.target = median;
    own.limit = if higher_is_better { median - allowed } else { median + allowed };
    let is_beyond = |value: f64| if higher_is_better { value < own.limit } else { value > own.limit };
    own.margin = own.value.map(|value| if higher_is_better { value - own.limit } else { own.limit - value });
    own.verdict = match (own.value, own.interval) {
        _ if own.reason.is_some() => Verdict::Inconclusive,
        (None, _) => Verdict::Inconclusive,
        (Some(value), _) if !is_beyond(value) => Verdict::Pass,
        (Some(_), Some((low, high))) if !(is_beyond(low) && is_beyond(high)) => {
            own.reason =
                Some("its interval lies on both sides of the limit; more requests would tell".to_owned());
            Verdict::Inconclusive
        }
        (Some(_), _) => Verdict::Fail,
    };
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let is_even = values.len().is_multiple_of(2);
    Some(if is_even { f64::midpoint(values[middle - 1], upper) } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Phases;
    use crate::correlate::{Exchange, Finding, Timing};
    use crate::event::{Course, Ending, Summary};

    const RULES: &str = "name = 'x'\n[[regression]]\nid = 'p95'\nmetric = 'latency.p95'\nworse_by = '20%'\nfloor = '5ms'\n\
                         [[regression]]\nid = 'rate'\nmetric = 'rate'\nworse_by = '15%'\n";

    fn profile() -> Arc<Profile> {
        Arc::new(Profile::parse("F", RULES).unwrap())
    }

    /// So many requests of so many milliseconds in 10 s.
    fn run(n: u64, ms: u64) -> Numbers {
        let profile = profile();
        let mut phases = Phases::new(Arc::clone(&profile));
        for _ in 0..n {
            let exchange = Exchange {
                method: "GET".to_owned(),
                path: "/".to_owned(),
                pid: 1,
                outgoing: None,
                status: 200,
                ending: Ending::Complete,
                end_ns: 0,
                timing: Some(Timing { app_ns: ms * 1_000_000, ..Timing::default() }),
                bytes_in: 0,
                bytes_out: 0,
            };
            phases.add(&Finding::Exchange(exchange), 0);
        }
        let summary = Summary { end_ns: 10_000_000_000, kernel: "6.18".to_owned(), ..Summary::default() };
        Numbers::of(&summary, &profile, &phases, &Course::default())
    }

    fn verdicts(run: &Numbers, baselines: &[Numbers]) -> (Verdict, Verdict) {
        let report = compare(run, baselines, &profile());
        (report.objectives[0].verdict, report.objectives[1].verdict)
    }

    #[test]
    fn each_rule_at_both_sides_of_its_edge() {
        use Verdict::{Fail, Inconclusive, Pass};
        let before = [run(1000, 100)];
        for (n, ms, expected) in [
            (1000, 100, (Pass, Pass)),
            (1000, 119, (Pass, Pass)),
            (1000, 121, (Fail, Pass)),
            (1000, 50, (Pass, Pass)),
            (851, 100, (Pass, Pass)),
            (849, 100, (Pass, Fail)),
            (2000, 100, (Pass, Pass)),
            // Too few for a p95, and far too few in all.
            (71, 100, (Inconclusive, Fail)),
        ] {
            assert_eq!(verdicts(&run(n, ms), &before), expected, "{n} of {ms} ms");
        }
        // A third of 3 ms is below the floor.
        assert_eq!(verdicts(&run(1000, 4), &[run(1000, 3)]).0, Pass);
    }

    #[test]
    fn baselines_that_differ_among_themselves_allow_as_much() {
        let noisy: Vec<Numbers> = [100, 120, 140].map(|ms| run(1000, ms)).into();
        // Median 120 ms, median deviation 20 ms: up to 209 ms.
        assert_eq!(verdicts(&run(1000, 200), &noisy).0, Verdict::Pass);
        assert_eq!(verdicts(&run(1000, 215), &noisy).0, Verdict::Fail);
        assert_eq!(verdicts(&run(1000, 200), &noisy[..2]).0, Verdict::Fail, "two have no spread");
    }

    #[test]
    fn no_baseline_and_unlike_baselines_are_no_pass() {
        let own = run(1000, 100);
        let report = compare(&own, &[], &profile());
        assert_eq!(report.verdict, Verdict::Inconclusive);
        assert_eq!(report.objectives[0].reason.as_deref(), Some("there is no baseline to compare with"));
        for (change, why) in [
            ((|other| other.profile_sha256 = "x".to_owned()) as fn(&mut Numbers), "another profile"),
            (|other| other.summary.kernel = "5.10".to_owned(), "its kernel is another: 5.10, not 6.18"),
            (|other| other.summary.machine = "64 cpus".to_owned(), "its machine is another"),
        ] {
            let mut other = own.clone();
            change(&mut other);
            let report = compare(&own, &[other], &profile());
            let comparison = report.comparison.unwrap();
            assert_eq!((report.verdict, comparison.baselines.len()), (Verdict::Inconclusive, 0));
            assert!(comparison.left_out[0].why.contains(why), "{comparison:?}");
        }
    }
}
