//! Findings by hand, numbers by head.

use super::*;
use crate::correlate::Timing;
use crate::profile::{Kind, Metric};

fn exchange(path: &str, status: u16, ending: Ending, latency_ns: Option<u64>) -> Finding {
    Finding::Exchange(Exchange {
        outgoing: None,
        method: "GET".to_owned(),
        path: path.to_owned(),
        pid: 1,
        status,
        ending,
        end_ns: 5_000_000_000,
        timing: latency_ns.map(|app_ns| Timing { app_ns, receive_queue_ns: 1_000, ..Timing::default() }),
        bytes_in: 10,
        bytes_out: 100,
    })
}

fn aggregate(findings: &[Finding]) -> Aggregate {
    let mut aggregate = Aggregate::new(&Profile::builtin().unwrap());
    for finding in findings {
        aggregate.add(finding);
    }
    aggregate
}

#[test]
fn each_kind_of_exchange_is_counted_where_it_belongs() {
    let all = aggregate(&[
        exchange("/a/1", 200, Ending::Complete, Some(1_000_000)),
        exchange("/a/2", 404, Ending::Complete, Some(2_000_000)),
        exchange("/a/3", 500, Ending::Complete, Some(9_000_000)),
        exchange("/a/4", 200, Ending::Complete, None),
        exchange("/a/5", 200, Ending::Aborted, Some(50_000_000)),
        exchange("/a/6", 0, Ending::InFlight, Some(60_000_000)),
        exchange("/b", 101, Ending::Complete, Some(3_000_000)),
    ]);
    let endpoints = all.endpoints();
    assert_eq!(endpoints.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["GET /a/{id}", "GET /b"]);
    let a = endpoints[0].1;
    assert_eq!((a.requests, a.errors, a.aborted, a.in_flight, a.untimed), (4, 1, 1, 1, 1));
    assert_eq!(a.statuses, [0, 0, 2, 0, 1, 1]);
    assert_eq!((a.bytes_in, a.bytes_out), (60, 600));
    assert_eq!(a.latency.count(), 2, "neither the 5xx, nor the untimed, nor the aborted one");
    assert_eq!(a.latency.max_ns(), Some(2_001_000));
    assert_eq!(a.failed_latency.max_ns(), Some(9_001_000));
    assert_eq!(a.receive_queue.mean_ns(), Some(1_000.0));
    let share = |name| match a.evidence(Metric::parse(Kind::Endpoint, name).unwrap()) {
        Some(Evidence::Share { part, whole }) => (part, whole),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(share("error_rate"), (1, 4));
    assert_eq!(share("status_4xx_rate"), (1, 4));
    assert_eq!(share("aborted_rate"), (1, 5));
    assert_eq!(share("success_rate"), (3, 5));
    assert_eq!(endpoints[1].1.statuses[1], 1);
    let overall = all.overall();
    assert_eq!((overall.requests, overall.latency.count()), (5, 3));
}

#[test]
fn the_parts_add_up_to_the_latency() {
    let all = aggregate(&[
        exchange("/a", 200, Ending::Complete, Some(1_000_000)),
        exchange("/a", 200, Ending::Complete, Some(3_000_000)),
    ]);
    let a = all.overall();
    let parts = [&a.accept_queue, &a.receive_queue, &a.read, &a.app, &a.write];
    let sum: f64 = parts.iter().map(|part| part.mean_ns().unwrap()).sum();
    assert_eq!(Some(sum), a.latency.mean_ns());
}

#[test]
fn listeners_and_deliveries() {
    let all = aggregate(&[
        Finding::Accept { port: 8000, path: None, queue_wait_ns: Some(5_000), backlog: 1 },
        Finding::Accept { port: 8000, path: None, queue_wait_ns: None, backlog: 7 },
        Finding::Delivery { method: "GET".to_owned(), path: "/a".to_owned(), delivery_ns: 40_000 },
    ]);
    let listener = &all.listeners()[&8000];
    assert_eq!((listener.accepted, listener.queue_wait.count(), listener.backlog_max), (2, 1, 7));
    assert_eq!(all.endpoints()[0].1.delivery.max_ns(), Some(40_000));
}

#[test]
fn progress_is_of_all_endpoints() {
    let all = aggregate(&[
        exchange("/a", 200, Ending::Complete, Some(1_000_000)),
        exchange("/b", 500, Ending::Complete, Some(1_000_000)),
        exchange("/c", 0, Ending::Aborted, None),
    ]);
    let progress = all.progress(6_500_000_000);
    assert_eq!((progress.requests, progress.errors, progress.aborted), (2, 1, 1));
    assert!((progress.rate_per_s - 1.0).abs() < 1e-9);
    assert!((progress.latency_p95_s.unwrap() - 0.001_001).abs() < 1e-6);
    assert_eq!(aggregate(&[]).progress(0).latency_p95_s, None);
}

/// What a profile can ask for was measured.
#[test]
fn every_metric_has_its_evidence() {
    for metric in Metric::all(Kind::Endpoint) {
        assert!(EndpointStats::default().evidence(metric).is_some(), "{metric}");
    }
}
