//! A small report that all tests of this module start from.

use std::collections::BTreeMap;

use super::*;
use std::sync::Arc;

use crate::aggregate::Phases;
use crate::correlate::{Exchange, Finding, Timing};
use crate::event::{Course, Ending, Listener, Summary, SyscallStats, Took};
use crate::profile::Profile;

/// 100 requests in 10 s, each of 10 ms, of which 1 ms in the receive queue; nothing wrong.
pub(super) fn report() -> Report {
    build(&summary(), &profile(), &phases(), &Course::default())
}

fn profile() -> Profile {
    Profile::parse(
        "F",
        "name = 'x'\n[[objective]]\nid = 'p95'\nmetric = 'latency.p95'\ntarget = '20ms'\nlimit = '50ms'\n",
    )
    .unwrap()
}

fn phases() -> Phases {
    let mut phases = Phases::new(Arc::new(profile()));
    count_into(&mut phases);
    phases
}

fn count_into(phases: &mut Phases) {
    for _ in 0..100 {
        let exchange = Finding::Exchange(Exchange {
            outgoing: None,
            method: "GET".to_owned(),
            path: "/a".to_owned(),
            pid: 7,
            status: 200,
            ending: Ending::Complete,
            end_ns: 0,
            timing: Some(Timing { receive_queue_ns: 1_000_000, app_ns: 9_000_000, ..Timing::default() }),
            bytes_in: 100,
            bytes_out: 1000,
        });
        phases.add(&exchange, 0);
    }
    phases.add(&Finding::Accept { port: 8000, path: None, queue_wait_ns: Some(50_000), backlog: 1 }, 0);
}

fn summary() -> Summary {
    Summary {
        start_ns: 5_000_000_000,
        end_ns: 15_000_000_000,
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        run_id: "r1".to_owned(),
        host: "h".to_owned(),
        kernel: "6.18.0".to_owned(),
        target_pid: 7,
        target_cmdline: "uvicorn app:app".to_owned(),
        processes: 1,
        events: 301,
        listeners: vec![Listener {
            addr: "127.0.0.1".parse().unwrap(),
            port: 8000,
            overflows: Some(0),
            backlog_seen: 0,
            backlog_limit: Some(2048),
        }],
        syscalls: vec![SyscallStats {
            op: "recv".to_owned(),
            role: "server".to_owned(),
            mode: "nonblocking".to_owned(),
            calls: 100,
            bytes: 10_000,
            took: Took {
                sum_ns: 400_000,
                min_ns: 4_000,
                max_ns: 4_000,
                buckets: vec![(u16::try_from(probe_common::hist::bucket_of(4_000)).unwrap(), 100)],
            },
            ..SyscallStats::default()
        }],
        ..Summary::default()
    }
}

#[test]
fn the_numbers_of_a_report() {
    let report = report();
    assert_eq!(Some(report.run.duration_s), Some(10.0));
    let endpoint = &report.endpoints[0];
    assert_eq!(
        (endpoint.endpoint.as_str(), endpoint.requests, endpoint.rate_per_s),
        ("GET /a", 100, Some(10.0))
    );
    assert_eq!(endpoint.statuses, BTreeMap::from([("2xx".to_owned(), 100)]));
    assert_eq!((endpoint.latency_s.p50, endpoint.latency_s.max), (Some(0.01), Some(0.01)));
    assert_eq!(endpoint.breakdown.app_s.mean, Some(0.009));
    assert_eq!(endpoint.delivery_s.p99, None);
    assert_eq!((report.accept.listeners[0].accepted, report.accept.listeners[0].overflows), (1, Some(0)));
    assert_eq!(report.syscalls[0].latency_s.p99, Some(4e-6));
    assert_eq!(report.verdict, crate::slo::Verdict::Pass);
}

#[test]
fn json_is_read_again_as_it_was() {
    let report = report();
    let text = Json.render(&report);
    assert!(text.starts_with("{\n  \"schema\": \"probe.report/1\",\n  \"run\": {\n    \"id\": \"r1\""));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["endpoints"][0]["delivery_s"]["p95"], serde_json::Value::Null);
    assert_eq!(value["objectives"][0]["unit"], "s");
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn listeners_of_one_port_are_one_line() {
    let socket = |addr: &str, overflows| Listener {
        addr: addr.parse().unwrap(),
        port: 8000,
        overflows,
        backlog_seen: 0,
        backlog_limit: Some(128),
    };
    let of = |listeners| {
        build(&Summary { listeners, ..summary() }, &profile(), &phases(), &Course::default()).accept.listeners
    };
    let both = of(vec![socket("0.0.0.0", Some(1)), socket("::", Some(2)), socket("0.0.0.0", Some(4))]);
    assert_eq!(both.len(), 1);
    assert_eq!(
        (both[0].addr.as_deref(), both[0].overflows, both[0].accepted),
        (Some("0.0.0.0,::"), Some(7), 1)
    );
    assert_eq!(of(vec![socket("::", Some(1)), socket("::", None)])[0].overflows, None, "half a sum is none");
    assert_eq!((of(vec![])[0].addr.clone(), of(vec![])[0].overflows), (None, None));
}

#[test]
fn a_run_without_end_claims_nothing_about_it() {
    let unfinished = Summary { ended_by: crate::event::EndedBy::Unfinished, ..summary() };
    let report = build(&unfinished, &profile(), &phases(), &Course::default());
    assert_eq!(report.verdict, crate::slo::Verdict::Inconclusive);
    assert_eq!((report.health.lost, report.health.agent_cpu_ratio, report.run.ended_by), (None, None, None));
    assert_eq!(report.endpoints[0].requests, 100);
}

#[test]
fn losses_are_shown_and_doubted() {
    let lost =
        |n| Summary { lost: BTreeMap::from([("ring full".to_owned(), n)]), events: 10_000, ..summary() };
    assert_eq!(
        build(&lost(10), &profile(), &phases(), &Course::default()).verdict,
        crate::slo::Verdict::Pass
    );
    let report = build(&lost(11), &profile(), &phases(), &Course::default());
    assert_eq!(report.verdict, crate::slo::Verdict::Inconclusive);
    assert_eq!(report.health.lost_by_cause["ring full"], 11);
}

/// A phase that asks for a network condition passes nothing: it ran without.
#[test]
fn a_condition_that_was_not_injected_is_no_pass() {
    use crate::slo::Verdict;
    for (condition, expected) in [(None, Verdict::Pass), (Some("poor"), Verdict::Inconclusive)] {
        let mut phases = Phases::new(Arc::new(profile()));
        phases.begin(&crate::event::Phase {
            ts_ns: 0,
            name: "a".to_owned(),
            judged: true,
            condition: condition.map(str::to_owned),
            is_between: false,
        });
        count_into(&mut phases);
        let report = build(&summary(), &profile(), &phases, &Course::default());
        assert_eq!(report.verdict, expected, "{condition:?}: {:?}", report.objectives);
    }
}

/// A warm-up that had not settled is told; a judged phase with a trend, one that is too short, and a machine that slept have
/// verdicts that say so.
#[test]
fn the_course_of_a_run_is_doubted() {
    const S: u64 = 1_000_000_000;
    let rate = "[[objective]]\nid = 'rate'\nmetric = 'rate'\ntarget = '1/s'\nlimit = '1/s'\n";
    let profile = Profile::parse("F", &format!("{}{rate}", profile().text)).unwrap();
    let mut phases = Phases::new(Arc::new(profile.clone()));
    let begin = |phases: &mut Phases, at_s: u64, name: &str, judged| {
        phases.begin(&crate::event::Phase {
            ts_ns: at_s * S,
            name: name.to_owned(),
            judged,
            condition: None,
            is_between: false,
        });
    };
    let add = |phases: &mut Phases, at_s: u64, ms: u64| {
        for n in 0..20 {
            let exchange = Exchange {
                outgoing: None,
                method: "GET".to_owned(),
                path: "/a".to_owned(),
                pid: 7,
                status: 200,
                ending: Ending::Complete,
                end_ns: at_s * S + n,
                timing: Some(Timing { app_ns: ms * 1_000_000, ..Timing::default() }),
                bytes_in: 0,
                bytes_out: 0,
            };
            phases.add(&Finding::Exchange(exchange), at_s * S + n);
        }
    };
    begin(&mut phases, 10, "warm-up", false);
    (10..40).for_each(|at| add(&mut phases, at, 200 - 4 * at));
    begin(&mut phases, 40, "settled", true);
    (40..60).for_each(|at| add(&mut phases, at, 10 + at % 2));
    begin(&mut phases, 60, "leak", true);
    (60..80).for_each(|at| add(&mut phases, at, at - 50));
    begin(&mut phases, 80, "blink", true);
    let awake = Summary { start_ns: 10 * S, end_ns: 80 * S + S / 2, clock_step_s: -30.0, ..summary() };
    let report = build(&awake, &profile, &phases, &Course::default());
    let reason = |report: &Report, id: &str, phase: &str| {
        let found = report.objectives.iter().find(|judged| judged.id == id && judged.phase == phase);
        found.and_then(|judged| judged.reason.clone()).unwrap_or_default()
    };
    assert_eq!(reason(&report, "p95", "settled"), "");
    assert!(reason(&report, "p95", "leak").starts_with("still drifting: the median latency went from 1"));
    assert_eq!(reason(&report, "rate", "leak"), "");
    assert!(reason(&report, "rate", "blink").starts_with("the phase lasted 0.50 s"));
    let warned = |words: &str| report.warnings.iter().any(|warning| warning.contains(words));
    assert!(warned("`warm-up` had not settled: still drifting"), "{:?}", report.warnings);
    assert!(warned("The wall clock was set by -30.0 s"), "{:?}", report.warnings);
    let asleep = Summary { suspended_s: 5.0, ..awake };
    let report = build(&asleep, &profile, &phases, &Course::default());
    assert_eq!(reason(&report, "p95", "settled"), "the machine was suspended for 5.0 s during the run");
}
