//! Requests, stages and locks by hand: what must be joined, and what must not.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::correlate::lock::{Blocker, CheckpointWork, Scope, WaitEnd};
use crate::correlate::stage::{Began, StageRun};
use crate::event::{Ending, Request, Response};

/// The thread that reads requests.
const LOOP: Owner = Owner { pid: 1, tid: 1 };
/// One that works for it.
const WORKER: Owner = Owner { pid: 1, tid: 2 };
const OTHER: Owner = Owner { pid: 1, tid: 3 };

const fn span(start_ns: u64, end_ns: u64) -> Span {
    Span { start_ns, end_ns }
}

fn request(conn: u64, path: &str, at: u64) -> Event {
    Event::Request(Request {
        conn,
        pid: LOOP.pid,
        tid: LOOP.tid,
        port: 80,
        outgoing: None,
        method: "GET".to_owned(),
        path: path.to_owned(),
        arrival_ns: Some(at),
        first_read_ns: at,
        last_read_ns: at,
        bytes: 10,
        complete: true,
        acked_ns: None,
    })
}

fn response(conn: u64, at: u64) -> Event {
    Event::Response(Response {
        conn,
        status: 200,
        first_send_ns: Some(at),
        last_send_ns: at,
        bytes: 10,
        ending: Ending::Complete,
    })
}

fn wait(waiter: Owner, of: Span, blockers: Vec<Blocker>) -> Finding {
    Finding::Lock(LockFinding::Wait(LockWait {
        database: 0,
        waiter,
        lock: LockName::WalWrite,
        scope: Scope::Threads,
        sql: None,
        span: of,
        attempts: 1,
        end: WaitEnd::Got,
        overshoot_ns: None,
        blockers,
    }))
}

fn stage(name: &str, owner: Owner, of: Span) -> Finding {
    Finding::Stage(Box::new(StageRun {
        stage: name.to_owned(),
        index: None,
        doc: "d".to_owned(),
        pid: owner.pid,
        tid: owner.tid,
        began: Some((of.start_ns, Began::Checkpoint)),
        end_ns: of.end_ns,
        transition_ns: None,
        io_ns: Some(0),
        is_again: false,
        file: 1,
    }))
}

/// What becomes of findings that come at the end of these events.
fn joined(events: &[Event], findings: &[Finding]) -> Vec<Work> {
    let mut tracker = WorkTracker::default();
    let mut out = Vec::new();
    for event in events {
        tracker.event(event);
    }
    for finding in findings {
        tracker.finding(finding, &mut out);
    }
    tracker.finish(&mut out);
    out.into_iter()
        .filter_map(|finding| if let Finding::Work(work) = finding { Some(*work) } else { None })
        .collect()
}

fn paths(whose: &For) -> Vec<&str> {
    match whose {
        For::Requests { targets, .. } => targets.iter().map(|target| target.1.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn only(whose: &For) -> Option<u64> {
    if let For::Requests { only, .. } = whose { *only } else { None }
}

/// Of two requests in flight one came too late and one was over too soon to be the one that waited.
#[test]
fn the_only_one_that_was_there_all_the_time() {
    let events = [
        request(1, "/quick", 0),
        request(2, "/slow", 5),
        response(1, 15),
        request(3, "/late", 12),
        request(4, "/slow", 30),
        response(2, 25),
    ];
    let works = joined(&events, &[wait(WORKER, span(10, 20), vec![]), wait(WORKER, span(26, 28), vec![])]);
    assert_eq!((paths(&works[0].whose), only(&works[0].whose)), (vec!["/slow"], Some(2)));
    assert_eq!(paths(&works[1].whose), ["/late"], "it is still there");
}

/// Several that were there: no request, but perhaps their endpoint.
#[test]
fn one_of_several() {
    let events = [request(1, "/a", 0), request(2, "/a", 1), request(3, "/b", 15)];
    let works = joined(&events, &[wait(WORKER, span(10, 20), vec![]), wait(WORKER, span(16, 20), vec![])]);
    assert_eq!((paths(&works[0].whose), only(&works[0].whose)), (vec!["/a"], None));
    assert_eq!((paths(&works[1].whose), only(&works[1].whose)), (vec!["/a", "/b"], None));
    let none = joined(&events[..0], &[wait(WORKER, span(10, 20), vec![])]);
    assert_eq!(none[0].whose, For::Nobody);
}

/// A thread that reads requests works for its own.
#[test]
fn a_reader_works_for_what_it_read() {
    let mut of_other = request(2, "/b", 0);
    if let Event::Request(request) = &mut of_other {
        request.tid = OTHER.tid;
    }
    let events = [request(1, "/a", 0), of_other];
    let works = joined(&events, &[wait(OTHER, span(10, 20), vec![]), wait(WORKER, span(10, 20), vec![])]);
    assert_eq!((paths(&works[0].whose), only(&works[0].whose)), (vec!["/b"], Some(2)));
    assert!(matches!(works[0].whose, For::Requests { by_reader: true, .. }));
    assert_eq!(paths(&works[1].whose), ["/a", "/b"]);
    // Another process has nothing to do with it.
    let elsewhere = joined(&events, &[wait(Owner { pid: 9, tid: 9 }, span(10, 20), vec![])]);
    assert_eq!(elsewhere[0].whose, For::Nobody);
}

/// The stage whose checkpoint the same thread puts in place next; of two that were begun, the one that ends first.
#[test]
fn stages_come_before_requests() {
    let events = [request(1, "/a", 0)];
    let blocker = Blocker {
        owner: OTHER,
        lock: LockName::WalWrite,
        traced: true,
        blocked_ns: 7,
        held: span(8, 17),
        sql: Some(Arc::from("UPDATE t")),
    };
    let findings = [
        wait(WORKER, span(10, 20), vec![blocker]),
        stage("long", WORKER, span(0, 50)),
        stage("short", WORKER, span(5, 30)),
        stage("later", WORKER, span(30, 60)),
        stage("other", OTHER, span(2, 18)),
        wait(WORKER, span(55, 58), vec![]),
        // A thread of stages, between two of them: not for the request.
        wait(WORKER, span(70, 80), vec![]),
    ];
    let works = joined(&events, &findings);
    let name = |work: &Work| match &work.whose {
        For::Stage { name, .. } => Some(name.clone()),
        _ => None,
    };
    let names: Vec<Option<String>> = works.iter().map(name).collect();
    let told = |name: &str| Some(name.to_owned());
    assert_eq!(names, [told("short"), told("other"), told("later"), None]);
    assert_eq!(works[3].whose, For::Nobody);
    assert!(matches!(&works[1].did, Did::Held { sql: Some(sql), .. } if &**sql == "UPDATE t"));
    assert_eq!((works[1].ns, works[1].owner), (7, OTHER));
}

/// Whoever makes a checkpoint pays for it.
#[test]
fn checkpoints_are_work() {
    let made = Finding::Lock(LockFinding::Checkpoint {
        database: 0,
        owner: WORKER,
        span: span(5, 9),
        work: CheckpointWork { sql: Some(Arc::from("COMMIT")), ..CheckpointWork::default() },
    });
    let works = joined(&[request(1, "/a", 0)], &[made]);
    assert_eq!((paths(&works[0].whose), works[0].ns), (vec!["/a"], 4));
    assert_eq!(works[0].did, Did::Checkpointed { sql: Some(Arc::from("COMMIT")) });
}

proptest! {
    /// Whatever comes in whatever order: everything is told once, and for nobody who was not there.
    #[test]
    fn nothing_is_lost(
        requests in prop::collection::vec((0u64..4, 0u64..100, any::<bool>()), 0..40),
        waits in prop::collection::vec((1u32..4, 0u64..100, 0u64..50), 0..20),
    ) {
        let events: Vec<Event> = requests
            .iter()
            .map(|(conn, at, is_end)| if *is_end { response(*conn, *at) } else { request(*conn, "/a", *at) })
            .collect();
        let findings: Vec<Finding> = waits
            .iter()
            .map(|(tid, at, ns)| wait(Owner { pid: 1, tid: *tid }, span(*at, at + ns), vec![]))
            .collect();
        let works = joined(&events, &findings);
        prop_assert_eq!(works.len(), waits.len());
        for (work, (_, at, _)) in works.iter().zip(&waits) {
            let was_there = requests.iter().any(|(_, from, is_end)| !is_end && from <= at);
            prop_assert!(work.whose == For::Nobody || was_there);
        }
    }
}
