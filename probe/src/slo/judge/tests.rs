//! Each rule of the table in `slo/mod.rs`, at both sides of its edge.

use super::*;
use crate::correlate::{Exchange, Finding as Seen, Timing};
use crate::event::Ending;
use crate::profile::Profile;

const MS: u64 = 1_000_000;
const SURE: Confidence = Confidence {
    duration_s: 10.0,
    loss_ratio: 0.0,
    undecoded_ratio: 0.0,
    is_finished: true,
    drift: None,
    too_short: None,
    sampled: None,
    sampled_stages: None,
    without_statements: None,
    doubt: None,
};

struct Load {
    seen: Vec<Seen>,
}

impl Load {
    fn new() -> Self {
        Self { seen: Vec::new() }
    }

    fn push(mut self, n: u64, path: &str, status: u16, ending: Ending, latency_ms: Option<u64>) -> Self {
        for _ in 0..n {
            self.seen.push(Seen::Exchange(Exchange {
                outgoing: None,
                method: "GET".to_owned(),
                path: path.to_owned(),
                pid: 1,
                status,
                ending,
                end_ns: 0,
                timing: latency_ms.map(|ms| Timing { app_ns: ms * MS, ..Timing::default() }),
                bytes_in: 0,
                bytes_out: 0,
            }));
        }
        self
    }

    fn ok(self, n: u64, path: &str, latency_ms: u64) -> Self {
        self.push(n, path, 200, Ending::Complete, Some(latency_ms))
    }

    fn judge(&self, objective: &str, run: &Confidence) -> Vec<Judgement> {
        let text = format!("name = 'x'\n[[objective]]\nid = 'o'\n{objective}\n");
        let profile = Profile::parse("F", &text).unwrap();
        let mut aggregate = Aggregate::new(&profile);
        self.seen.iter().for_each(|seen| aggregate.add(seen));
        judge(&profile, &aggregate, "run", run)
    }

    /// The verdict and reason of the only judgement.
    fn verdict(&self, objective: &str) -> (Verdict, String) {
        let [judgement] = <[Judgement; 1]>::try_from(self.judge(objective, &SURE)).unwrap();
        (judgement.verdict, judgement.reason.unwrap_or_default())
    }
}

const P95: &str = "metric = 'latency.p95'\ntarget = '100ms'\nlimit = '300ms'";
const ERRORS: &str = "metric = 'error_rate'\ntarget = '0.5%'\nlimit = '1%'";

#[test]
fn a_value_passes_warns_or_fails() {
    for (ms, expected) in
        [(99, Verdict::Pass), (101, Verdict::Warn), (299, Verdict::Warn), (301, Verdict::Fail)]
    {
        assert_eq!(Load::new().ok(100, "/a", ms).verdict(P95), (expected, String::new()), "{ms} ms");
    }
}

#[test]
fn the_evidence_stands_beside_the_verdict() {
    let mut load = Load::new();
    for ms in 1..=100 {
        load = load.ok(1, "/a", ms);
    }
    let judgement = load.judge(P95, &SURE).remove(0);
    assert_eq!((judgement.subject.as_str(), judgement.samples), ("all endpoints", 100));
    let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.001;
    assert!(near(judgement.value.unwrap(), 0.095));
    assert!(near(judgement.margin.unwrap(), 0.205));
    // Ranks 90 and 99: P(B(100, 0.95) ≤ 89) = 0.0115, ≤ 90 = 0.0282; ≤ 98 = 0.9629 < 0.975 ≤ 0.9941 at 99.
    let (low, high) = judgement.interval.unwrap();
    assert!(near(low, 0.090) && near(high, 0.100), "{low} {high}");
}

#[test]
fn a_percentile_of_too_few_is_refused() {
    assert_eq!(
        Load::new().ok(71, "/a", 1).verdict(P95),
        (Verdict::Inconclusive, "71 of at least 72 requests".to_owned())
    );
    assert_eq!(Load::new().ok(72, "/a", 1).verdict(P95).0, Verdict::Pass);
    // Even where all of them are far too slow.
    assert_eq!(Load::new().ok(71, "/a", 9999).verdict(P95).0, Verdict::Inconclusive);
    assert_eq!(Load::new().ok(71, "/a", 9999).judge(P95, &SURE)[0].value, None);
}

#[test]
fn no_data_is_never_a_pass() {
    for metric in ["latency.p50", "latency.max", "latency.mean", "failed_latency.p50"] {
        let objective = format!("metric = '{metric}'\ntarget = '1s'\nlimit = '1s'");
        assert_eq!(
            Load::new().verdict(&objective),
            (Verdict::Inconclusive, "no data".to_owned()),
            "{metric}"
        );
    }
    for metric in ["error_rate", "success_rate", "aborted_rate", "status_4xx_rate", "rate", "requests"] {
        let objective = format!("metric = '{metric}'\ntarget = 1\nlimit = 1");
        assert_eq!(
            Load::new().verdict(&objective),
            (Verdict::Inconclusive, "no data".to_owned()),
            "{metric}"
        );
    }
    assert_eq!(Load::new().judge("metric = 'rate'\ntarget = 1\nlimit = 1", &SURE)[0].value, None);
}

#[test]
fn failed_aborted_and_open_requests_do_not_flatter_the_latency() {
    let load = Load::new()
        .ok(100, "/a", 200)
        .push(900, "/a", 500, Ending::Complete, Some(1))
        .push(900, "/a", 0, Ending::Aborted, Some(1))
        .push(900, "/a", 0, Ending::InFlight, Some(1));
    assert_eq!(load.verdict(P95).0, Verdict::Warn);
}

#[test]
fn an_error_rate_needs_enough_requests_or_a_proof() {
    assert_eq!(
        Load::new().ok(367, "/a", 1).verdict(ERRORS),
        (Verdict::Inconclusive, "367 of at least 368 requests".to_owned())
    );
    assert_eq!(Load::new().ok(368, "/a", 1).verdict(ERRORS).0, Verdict::Pass);
    let errors = |n| Load::new().ok(40 - n, "/a", 1).push(n, "/a", 503, Ending::Complete, Some(1));
    assert_eq!(errors(1).verdict(ERRORS).0, Verdict::Inconclusive, "1 of 40 may be chance");
    assert_eq!(errors(10).verdict(ERRORS), (Verdict::Fail, String::new()), "10 of 40 may not");
    let warn = Load::new().ok(1988, "/a", 1).push(12, "/a", 500, Ending::Complete, Some(1));
    assert_eq!(warn.verdict(ERRORS).0, Verdict::Warn, "0.6 %");
}

#[test]
fn success_counts_refusals_as_success_and_broken_connections_not() {
    let objective = "metric = 'success_rate'\ntarget = '99%'\nlimit = '95%'";
    let load = |ok, aborted| {
        Load::new().ok(ok, "/a", 1).push(10, "/a", 422, Ending::Complete, Some(1)).push(
            aborted,
            "/a",
            0,
            Ending::Aborted,
            None,
        )
    };
    assert_eq!(load(90, 0).verdict(objective).0, Verdict::Pass);
    assert_eq!(load(90, 4).verdict(objective).0, Verdict::Warn, "100 of 104");
    assert_eq!(load(90, 10).verdict(objective).0, Verdict::Fail, "100 of 110");
    assert_eq!(load(50, 0).verdict(objective).0, Verdict::Inconclusive, "60 of at least 72");
}

#[test]
fn throughput_is_a_fact_and_more_is_better() {
    let objective = "metric = 'rate'\ntarget = '10/s'\nlimit = '5/s'";
    for (n, expected) in [(100, Verdict::Pass), (60, Verdict::Warn), (40, Verdict::Fail)] {
        assert_eq!(Load::new().ok(n, "/a", 1).verdict(objective).0, expected, "{n} in 10 s");
    }
    let aborted = Load::new().push(9, "/a", 0, Ending::Aborted, None);
    assert_eq!(aborted.verdict(objective).0, Verdict::Fail, "requests came, none was answered");
}

#[test]
fn patterns_give_each_endpoint_its_line() {
    let load = Load::new().ok(100, "/a", 1).ok(100, "/b", 500);
    let judgements = load.judge(&format!("endpoint = 'GET *'\n{P95}"), &SURE);
    let lines: Vec<_> = judgements.iter().map(|line| (line.subject.as_str(), line.verdict)).collect();
    assert_eq!(lines, [("GET /a", Verdict::Pass), ("GET /b", Verdict::Fail)]);
}

#[test]
fn an_endpoint_that_was_never_seen_names_its_neighbour() {
    let load = Load::new().ok(100, "/upload", 1);
    assert_eq!(
        load.verdict(&format!("endpoint = 'GET /uplaod'\n{P95}")),
        (
            Verdict::Inconclusive,
            "no request to this endpoint was seen; the nearest that was seen is `GET /upload`".to_owned()
        )
    );
}

#[test]
fn lost_events_and_a_run_without_end_make_everything_inconclusive() {
    let load = Load::new().ok(100, "/a", 999);
    for (loss_ratio, expected) in [(0.001, Verdict::Fail), (0.001_1, Verdict::Inconclusive)] {
        assert_eq!(load.judge(P95, &Confidence { loss_ratio, ..SURE })[0].verdict, expected, "{loss_ratio}");
    }
    let judgement = load.judge(P95, &Confidence { undecoded_ratio: 0.01, ..SURE }).remove(0);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert_eq!(
        judgement.reason.as_deref(),
        Some("1.00 % of the connections could not be decoded, more than 0.1 %")
    );
    let judgement = load.judge(P95, &Confidence { is_finished: false, ..SURE }).remove(0);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.value.is_some() && judgement.reason.unwrap().contains("no end"));
}

#[test]
fn untimed_requests_matter_only_where_they_could_change_the_verdict() {
    let untimed =
        |n| Load::new().ok(1000, "/a", 50).ok(45, "/a", 500).push(n, "/a", 200, Ending::Complete, None);
    assert_eq!(untimed(0).verdict(P95).0, Verdict::Pass);
    assert_eq!(untimed(1).verdict(P95).0, Verdict::Pass, "0.1 %");
    assert_eq!(untimed(3).verdict(P95).0, Verdict::Pass, "1000 of 1048 are quick whatever the three were");
    assert_eq!(
        untimed(20).verdict(P95),
        (Verdict::Inconclusive, "1.88 % of the requests could not be timed, more than 0.1 %".to_owned())
    );
    let max = "metric = 'latency.max'\ntarget = '1s'\nlimit = '1s'";
    assert_eq!(untimed(20).verdict(max).0, Verdict::Inconclusive, "one of them may be the longest");
}

#[test]
fn a_mean_has_its_interval() {
    let objective = "metric = 'latency.mean'\ntarget = '100ms'\nlimit = '300ms'";
    assert_eq!(Load::new().ok(29, "/a", 50).verdict(objective).0, Verdict::Inconclusive);
    let judgement = Load::new().ok(50, "/a", 50).ok(50, "/a", 150).judge(objective, &SURE).remove(0);
    assert_eq!((judgement.verdict, judgement.value), (Verdict::Pass, Some(0.1)));
    // Standard deviation 50.25 ms, so 0.1 ± 1.96 · 5.025 ms.
    let (low, high) = judgement.interval.unwrap();
    assert!((low - 0.09015).abs() < 1e-4 && (high - 0.10985).abs() < 1e-4, "{low} {high}");
}

/// Calls of the target: of one kind, or of a host together with those that got no connection.
#[test]
fn outgoing_calls_are_judged() {
    let call = |status, ending, ms| {
        Seen::Exchange(Exchange {
            outgoing: Some("api:80".to_owned()),
            method: "GET".to_owned(),
            path: "/items/1".to_owned(),
            pid: 1,
            status,
            ending,
            end_ns: 0,
            timing: Some(Timing { read_ns: MS, app_ns: ms * MS, ..Timing::default() }),
            bytes_in: 0,
            bytes_out: 0,
        })
    };
    let mut load = Load::new();
    load.seen.extend((0..300).map(|_| call(200, Ending::Complete, 9)));
    load.seen.extend((0..60).map(|_| call(503, Ending::Complete, 1)));
    load.seen.extend((0..20).map(|_| call(0, Ending::Aborted, 5)));
    load.seen.extend(
        (0..20)
            .map(|_| Seen::Unconnected { to: "api:80".to_owned(), why: crate::event::NotConnected::Refused }),
    );
    let value = |objective: &str| {
        let mut judged = load.judge(objective, &SURE);
        assert_eq!(judged.len(), 1, "{judged:?}");
        let judged = judged.remove(0);
        (judged.subject, judged.value.unwrap(), judged.samples)
    };
    let errors = "metric = 'error_rate'\ntarget = '1%'\nlimit = '2%'";
    let host = "outgoing = 'api:80'\n";
    let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
    let (subject, share, samples) = value(&format!("{host}{errors}"));
    assert!(subject == "calls of api:80" && near(share, 0.25) && samples == 400);
    let kind = "outgoing = 'GET api:80 /items/{id}'\n";
    assert!(near(value(&format!("{kind}{errors}")).1, 80.0 / 380.0));
    let refused =
        "outgoing = 'connect api:80 (refused)'\nmetric = 'aborted_rate'\ntarget = '1%'\nlimit = '2%'";
    assert!(near(value(refused).1, 1.0));
    let wait = format!("{kind}metric = 'wait.p95'\ntarget = '1ms'\nlimit = '2ms'");
    assert!((value(&wait).1 - 0.009).abs() < 1e-4);
    assert!(load.judge(&wait, &SURE)[0].verdict == Verdict::Fail);
    let nobody = load.judge(&format!("outgoing = 'apii:80'\n{errors}"), &SURE);
    assert_eq!(nobody[0].verdict, Verdict::Inconclusive);
    assert!(nobody[0].reason.as_ref().unwrap().contains("nearest that was seen is `api:80`"), "{nobody:?}");
}

#[test]
fn a_phase_that_drifts_or_is_too_short_says_so() {
    let load = Load::new().ok(400, "/a", 5);
    let unsure = Confidence {
        drift: Some("still drifting".to_owned()),
        too_short: Some("too short".to_owned()),
        ..SURE
    };
    let reason = |objective: &str| load.judge(objective, &unsure).remove(0).reason;
    assert_eq!(reason(P95).as_deref(), Some("still drifting"));
    assert_eq!(reason("metric = 'rate'\ntarget = '1/s'\nlimit = '1/s'").as_deref(), Some("too short"));
    assert_eq!(reason(ERRORS), None, "a share has no trend that is looked for");
}

/// A part of the connections says nothing of how many there were, and how long something took, within its interval.
#[test]
fn what_was_given_up_says_so() {
    let all = "1 in 4 connections was followed from 8.0 s on";
    let sampled = Confidence { sampled: Some(all.to_owned()), ..SURE };
    let load = Load::new().ok(400, "/a", 5);
    let judged = |objective: &str, run: &Confidence| {
        let judgement = load.judge(objective, run).remove(0);
        (judgement.verdict, judgement.reason)
    };
    for (metric, level) in [("rate", "'1/s'"), ("requests", "1")] {
        let objective = format!("metric = '{metric}'\ntarget = {level}\nlimit = {level}");
        assert_eq!(judged(&objective, &SURE), (Verdict::Pass, None), "{metric}");
        assert_eq!(judged(&objective, &sampled), (Verdict::Inconclusive, Some(all.to_owned())), "{metric}");
    }
    for objective in [P95, ERRORS] {
        assert_eq!(judged(objective, &sampled), (Verdict::Pass, Some(all.to_owned())), "{objective}");
    }
    let why = |of: &str, metric: &str, run: &Confidence| {
        let is_time = metric.contains('.') && !of.starts_with("resource");
        let level = if is_time { "'1s'" } else { "1" };
        judged(&format!("{of}\nmetric = '{metric}'\ntarget = {level}\nlimit = {level}"), run)
            .1
            .unwrap_or_default()
    };
    let stages = Confidence { sampled_stages: Some("stages".to_owned()), ..SURE };
    let statements = Confidence { without_statements: Some("statements".to_owned()), ..SURE };
    for (of, metric, run, expected) in [
        ("websocket = '*'", "connections", &sampled, Some(all)),
        ("outgoing = '*'", "requests", &sampled, Some(all)),
        ("database = '*'", "request_contention", &sampled, Some(all)),
        ("database = '*'", "wait.p50", &sampled, None),
        ("stage = '*'", "time.p50", &sampled, None),
        ("stage = '*'", "time.p50", &stages, Some("stages")),
        ("database = '*'", "statement.p50", &statements, Some("statements")),
        ("database = '*'", "mutex_wait.p50", &statements, Some("statements")),
        ("database = '*'", "wait.p50", &statements, None),
        ("resource = 'target'", "connections.p50", &sampled, None),
    ] {
        let got = why(of, metric, run);
        let unsampled = [all, "stages", "statements"].iter().all(|word| got != *word);
        assert!(expected.map_or(unsampled, |expected| got == expected), "{of} {metric}: {got}");
    }
}
