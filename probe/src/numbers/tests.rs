//! Two hosts' numbers, merged from what each has kept, are those of one that saw it all.

use proptest::prelude::*;

use super::*;
use crate::correlate::stage::{DocEnd, StageRun};
use crate::correlate::{Exchange, Finding, Seen, Timing};
use crate::event::{self, Course, Ending};

const S: u64 = 1_000_000_000;

fn finding() -> impl Strategy<Value = Finding> {
    let ending =
        prop_oneof![4 => Just(Ending::Complete), 1 => Just(Ending::Aborted), 1 => Just(Ending::InFlight)];
    let status = prop_oneof![Just(200u16), Just(404), Just(503)];
    let exchange = ("[abc]", ending, status, any::<Option<u64>>(), 0..500 * S);
    let exchange = exchange.prop_map(|(path, ending, status, latency_ns, end_ns)| {
        Finding::Exchange(Exchange {
            method: "GET".to_owned(),
            path: format!("/{path}"),
            pid: 1,
            outgoing: None,
            status,
            ending,
            end_ns,
            timing: latency_ns.map(|ns| Timing { app_ns: ns / 2, read_ns: ns / 4, ..Timing::default() }),
            bytes_in: 3,
            bytes_out: 5,
        })
    });
    let unix = prop::option::of(Just("/run/app.sock".to_owned()));
    let accept = (0u16..3, unix, any::<Option<u64>>(), any::<u32>()).prop_map(
        |(port, path, queue_wait_ns, backlog)| Finding::Accept { port, path, queue_wait_ns, backlog },
    );
    let delivery = any::<u64>().prop_map(|delivery_ns| Finding::Delivery {
        method: "GET".to_owned(),
        path: "/a".to_owned(),
        delivery_ns,
    });
    let called = any::<Option<u64>>().prop_map(|latency_ns| {
        Finding::Exchange(Exchange {
            method: "POST".to_owned(),
            path: "/model".to_owned(),
            pid: 1,
            outgoing: Some("gpu:8000".to_owned()),
            status: 200,
            ending: Ending::Complete,
            end_ns: S,
            timing: latency_ns.map(|ns| Timing { app_ns: ns, ..Timing::default() }),
            bytes_in: 1,
            bytes_out: 2,
        })
    });
    let seen = prop_oneof![
        Just(Seen::Opened),
        any::<u64>().prop_map(Seen::Delivered),
        any::<u64>().prop_map(Seen::Pong),
        (any::<bool>(), any::<Option<u64>>()).prop_map(|(inbound, reply_ns)| Seen::Message {
            inbound,
            bytes: 9,
            reply_ns
        }),
    ];
    let stage = any::<(bool, Option<u64>, u64)>().prop_map(|(is_again, transition_ns, end_ns)| {
        Finding::Stage(Box::new(StageRun {
            stage: "ocr".to_owned(),
            index: Some(1),
            doc: "d".to_owned(),
            pid: 1,
            tid: 0,
            began: None,
            end_ns,
            transition_ns,
            io_ns: None,
            is_again,
            file: 0,
        }))
    });
    let document = ("[a-z]", any::<(bool, Option<u64>)>(), 0..30 * S).prop_map(
        |(doc, (is_complete, took_ns), since_ns)| {
            let (is_begun, is_resumed) = (took_ns.is_some(), false);
            Finding::Document(DocEnd {
                doc,
                is_complete,
                is_begun,
                is_resumed,
                last: None,
                since_ns,
                took_ns,
            })
        },
    );
    let websocket = seen.prop_map(|seen| Finding::WebSocket("/ws".into(), seen));
    let abandoned = (0u16..3).prop_map(|port| Finding::Abandoned { port });
    prop_oneof![8 => exchange, 1 => accept, 1 => delivery, 1 => abandoned, 2 => called, 2 => websocket, 1 => stage, 1 => document]
}

fn profile() -> Arc<Profile> {
    Arc::new(Profile::builtin().unwrap())
}

fn phases(profile: &Arc<Profile>) -> Phases {
    let mut phases = Phases::new(Arc::clone(profile));
    for (ts_ns, name) in [(10, "warm-up"), (20, "steady")] {
        phases.begin(&event::Phase {
            ts_ns,
            name: name.to_owned(),
            judged: true,
            condition: None,
            is_between: false,
        });
    }
    phases
}

fn summary(run_id: &str, started_at: &str, host: &str) -> Summary {
    Summary {
        end_ns: 30 * S,
        run_id: run_id.to_owned(),
        started_at: started_at.to_owned(),
        host: host.to_owned(),
        ..Summary::default()
    }
}

fn kept(numbers: &Numbers) -> Numbers {
    Numbers::from_text(&numbers.to_text()).unwrap()
}

proptest! {
    #[test]
    fn two_hosts_are_as_one(findings in prop::collection::vec((finding(), 0u64..30, any::<bool>()), 0..80)) {
        let profile = profile();
        let (mut whole, mut a, mut b) = (phases(&profile), phases(&profile), phases(&profile));
        for (finding, ts_ns, is_a) in &findings {
            whole.add(finding, *ts_ns);
            if *is_a { &mut a } else { &mut b }.add(finding, *ts_ns);
        }
        let end = Finding::Stages { order: vec![("ocr".to_owned(), Some(1))], near: Vec::new(), dropped: 0 };
        for phases in [&mut whole, &mut a, &mut b] {
            phases.add(&end, 30);
        }
        let at = "2026-01-02T03:04:05Z";
        let numbers = |host: &str, phases: &Phases| Numbers::of(&summary(host, at, host), &profile, phases, &Course::default());
        let merged = merge(vec![kept(&numbers("b", &b)), kept(&numbers("a", &a))], &profile).unwrap();
        let mut merged = merged.report(&profile);
        prop_assert_eq!(&merged.run.id, "merged of a, b");
        let whole = numbers("whole", &whole).report(&profile);
        merged.run = whole.run.clone();
        prop_assert_eq!(merged.health.blind_spots.len(), 1);
        merged.health.blind_spots.clear();
        prop_assert_eq!(merged, whole);
    }

    #[test]
    fn any_text_is_refused_or_taken(text: String) {
        let _ = Numbers::from_text(&text);
    }
}

#[test]
fn repetitions_are_put_end_to_end_and_hosts_side_by_side() {
    let profile = profile();
    let run = |id: &str, at: &str| {
        Numbers::of(&summary(id, at, "h"), &profile, &phases(&profile), &Course::default())
    };
    for (second, duration_s) in
        [("2026-01-02T03:04:05Z", 30.0), ("2026-01-02T03:04:15Z", 40.0), ("2026-01-03T03:04:05Z", 60.0)]
    {
        let merged = merge(vec![run("1", "2026-01-02T03:04:05Z"), run("2", second)], &profile).unwrap();
        assert_eq!(Some(merged.report(&profile).run.duration_s), Some(duration_s), "{second}");
    }
}

#[test]
fn another_profile_is_refused() {
    let mut other = Numbers::of(&summary("1", "", ""), &profile(), &phases(&profile()), &Course::default());
    other.profile_sha256 = "x".to_owned();
    assert!(merge(vec![other], &profile()).unwrap_err().contains("another profile"));
    let text = r#"{"schema":"probe.numbers/9","profile_sha256":"","summary":{},"loads":[],"phases":{}}"#;
    assert!(Numbers::from_text(text).is_err());
}
