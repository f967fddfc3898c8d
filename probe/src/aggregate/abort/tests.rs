//! Windows on a recorded clock.

use proptest::prelude::*;

use super::*;
use crate::aggregate::{EndpointStats, Evidence, Subject as _};
use crate::correlate::Timing;
use crate::profile::{Kind, Metric};

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn watch(rules: &str) -> AbortWatch {
    AbortWatch::new(&Profile::parse("F", &format!("name = 'x'\n{rules}")).unwrap())
}

fn exchange(end_ns: u64, path: &str, status: u16, app_ns: u64) -> Exchange {
    Exchange {
        method: "GET".to_owned(),
        path: path.to_owned(),
        pid: 1,
        outgoing: None,
        status,
        ending: Ending::Complete,
        end_ns,
        timing: Some(Timing { app_ns, ..Timing::default() }),
        bytes_in: 0,
        bytes_out: 0,
    }
}

const ERRORS: &str =
    "[[abort]]\nid = 'errors'\nmetric = 'error_rate'\nlimit = '50%'\nwindow = '10s'\nmin_samples = 20\n";

/// A recorded clock: what counts is the window's end, not when anyone looks.
#[test]
fn only_the_window_counts_and_only_with_enough_samples() {
    let mut watch = watch(ERRORS);
    // 19 failures: too few.
    for n in 0..19 {
        watch.add(&exchange(100 * S + n, "/a", 500, MS));
    }
    assert_eq!(watch.due(101 * S), None, "19 of 20 samples");
    watch.add(&exchange(101 * S, "/a", 500, MS));
    let abort = watch.due(101 * S).unwrap();
    assert_eq!((abort.rule.as_str(), abort.samples, abort.value), ("errors", 20, 1.0));
    assert_eq!((abort.subject, abort.metric.as_str(), abort.limit), (None, "error_rate", 0.5));
    // As many answers that are fine: half is not more than half.
    for n in 0..20 {
        watch.add(&exchange(105 * S + n, "/a", 200, MS));
    }
    assert_eq!(watch.due(106 * S), None);
    watch.add(&exchange(106 * S, "/a", 503, MS));
    assert!(watch.due(106 * S).is_some_and(|abort| abort.samples == 41));
    // Past the window the old failures are forgotten, and with them most samples.
    assert_eq!(watch.due(111 * S), None);
    // Nothing is kept of what is long gone.
    assert_eq!(watch.due(1000 * S), None);
    assert!(watch.rules[0].windows[&None].is_empty());
}

#[test]
fn a_phase_begins_with_an_empty_window() {
    let bound = format!("{ERRORS}phase = 'pe*'\n");
    let mut watch = watch(&bound);
    let fail = |watch: &mut AbortWatch, at: u64| {
        (0..30).for_each(|n| watch.add(&exchange(at * S + n, "/a", 500, MS)));
        watch.due(at * S + 30).map(|abort| abort.phase)
    };
    assert_eq!(fail(&mut watch, 100), None, "no phase");
    watch.begin("warm-up");
    assert_eq!(fail(&mut watch, 101), None, "another phase");
    watch.begin("peak");
    assert_eq!(watch.due(101 * S + 40), None, "what happened before the phase");
    assert_eq!(fail(&mut watch, 102), Some(Some("peak".to_owned())));
}

#[test]
fn each_endpoint_of_a_wildcard_has_its_window() {
    let mut watch = watch(
        "routes = ['GET /a', 'GET /b']\n\
         [[abort]]\nid = 'slow'\nendpoint = 'GET *'\nmetric = 'latency.mean'\nlimit = '100ms'\nwindow = '5s'\n",
    );
    for n in 0..29 {
        watch.add(&exchange(50 * S + n, "/a", 200, 10 * MS));
        watch.add(&exchange(50 * S + n, "/b", 200, 200 * MS));
    }
    assert_eq!(watch.due(51 * S), None, "29 samples");
    watch.add(&exchange(51 * S, "/b", 200, 200 * MS));
    let abort = watch.due(51 * S).unwrap();
    assert_eq!(abort.subject.as_deref(), Some("GET /b"));
    assert!((abort.value - 0.2).abs() < 0.001, "{abort:?}");
}

proptest! {
    /// A window that holds everything has the values that are reported.
    #[test]
    fn samples_are_those_of_the_report(
        requests in prop::collection::vec((prop_oneof![Just(200u16), Just(404), Just(500)], 0u8..10, 1..S, any::<bool>()), 1..60),
    ) {
        let mut stats = EndpointStats::default();
        let exchanges: Vec<Exchange> = requests.into_iter().map(|(status, kind, ns, timed)| {
            let mut exchange = exchange(S, "/", status, ns);
            if kind == 0 { exchange.ending = Ending::Aborted; }
            if !timed { exchange.timing = None; }
            exchange
        }).collect();
        for exchange in &exchanges {
            stats.add(exchange);
        }
        for metric in Metric::all(Kind::Endpoint).filter(|metric| AbortRule::can_watch(*metric)) {
            let rule = AbortRule {
                id: "x".to_owned(), subject: None, phase: None, metric, limit: 0.0,
                window: std::time::Duration::from_secs(1), min_samples: 1,
            };
            let mut watched = Watched { rule, tenth_ns: S, windows: BTreeMap::new() };
            for exchange in &exchanges {
                if let Some(sample) = sample(exchange, metric.quantity.name) {
                    watched.add(None, exchange.end_ns, &sample);
                }
            }
            let found = watched.windows.get(&None).and_then(|window| value(&watched.rule, window));
            match stats.evidence(metric).unwrap() {
                Evidence::Share { part, whole } => {
                    prop_assert_eq!(found, (whole > 0).then(|| (part as f64 / whole as f64, whole)), "{}", metric);
                }
                Evidence::Durations { durations, .. } => {
                    prop_assert_eq!(found.map_or(0, |(_, samples)| samples), durations.count(), "{}", metric);
                }
                _ => prop_assert!(false, "{} is neither", metric),
            }
        }
    }

    /// Whatever the times, memory is bounded.
    #[test]
    fn any_times_are_bounded(times in prop::collection::vec(any::<u64>(), 1..200), asks in prop::collection::vec(any::<u64>(), 0..5)) {
        let mut watch = watch(ERRORS);
        for (n, at) in times.iter().enumerate() {
            watch.add(&exchange(*at, "/a", 500, 1));
            if let Some(ask) = asks.get(n) { watch.due(*ask); }
        }
        prop_assert!(watch.rules[0].windows[&None].len() as u64 <= TENTHS);
    }
}
