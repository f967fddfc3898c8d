//! Stages of documents from events by hand: times, order, repeats, what is stuck.

use proptest::prelude::*;

use super::*;
use crate::event::{Ending, FileRemoved};

const MS: u64 = 1_000_000;

fn profile(rest: &str) -> Arc<Profile> {
    Arc::new(Profile::parse("test", &format!("name = \"test\"\n{rest}")).unwrap())
}

fn by_document() -> Arc<Profile> {
    profile(
        "[stages]\norder = [\"a\", \"b\"]\nbegins = \"up/{doc}.pdf\"\nedits = [\"PUT /stages/{n}\"]\n\
         resumes = [\"POST /resume\"]\n[[stage]]\nfile = \"ck/{doc}/{index}_{stage}.json\"\n",
    )
}

/// Written from `opened` to `end`, milliseconds, by thread 1 of process 1.
fn file(id: u64, path: &str, opened: u64, end: u64) -> FileWritten {
    FileWritten {
        ts_ns: end * MS,
        pid: 1,
        tid: 1,
        file: id,
        path: path.to_owned(),
        was: None,
        placed: Placed::Close,
        opened_ns: Some(opened * MS),
        closed_ns: end * MS,
        bytes: 100,
        writes: 1,
        open_ns: 0,
        write_ns: MS,
        syncs: 0,
        sync_ns: 0,
        close_ns: 0,
        rename_ns: 0,
        errors: 0,
        errno: 0,
        is_mapped: false,
        is_more: false,
        io_ns: 0,
    }
}

fn request(conn: u64, method: &str, path: &str, at: u64) -> Event {
    Event::Request(Request {
        outgoing: None,
        conn,
        pid: 1,
        tid: 1,
        port: 80,
        method: method.to_owned(),
        path: path.to_owned(),
        arrival_ns: Some(at * MS),
        first_read_ns: at * MS,
        last_read_ns: at * MS,
        bytes: 10,
        complete: true,
        acked_ns: None,
    })
}

fn response(conn: u64, at: u64) -> Event {
    Event::Response(Response {
        conn,
        status: 200,
        first_send_ns: Some(at * MS),
        last_send_ns: at * MS,
        bytes: 10,
        ending: Ending::Complete,
    })
}

fn marker(stage: &str, doc: &str, at: u64, is_begin: bool) -> Event {
    let (stage, doc) = (stage.to_owned(), doc.to_owned());
    Event::Marker(Marker { ts_ns: at * MS, pid: 1, tid: 1, stage, doc, is_begin, io_ns: at })
}

/// Everything that follows: stages as (doc, stage, began, end, transition, again), and how documents ended.
type Seen = (Vec<(String, String, Option<u64>, u64, Option<u64>, bool)>, Vec<DocEnd>, Vec<CheckpointWrite>);

fn run(profile: Arc<Profile>, events: &[Event]) -> Seen {
    let mut tracker = StageTracker::new(profile);
    let mut out = Vec::new();
    for event in events {
        tracker.event(event, &mut out);
    }
    tracker.finish(&mut out);
    let (mut stages, mut ends, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for finding in out {
        match finding {
            Finding::Stage(run) => {
                let began = run.began.map(|(began_ns, _)| began_ns / MS);
                let transition = run.transition_ns.map(|ns| ns / MS);
                stages.push((run.doc, run.stage, began, run.end_ns / MS, transition, run.is_again));
            }
            Finding::Document(end) => ends.push(end),
            Finding::Checkpoint(write) => writes.push(*write),
            _ => {}
        }
    }
    stages.sort();
    (stages, ends, writes)
}

fn stage(
    doc: &str,
    stage: &str,
    began: Option<u64>,
    end: u64,
    transition: Option<u64>,
    again: bool,
) -> (String, String, Option<u64>, u64, Option<u64>, bool) {
    (doc.to_owned(), stage.to_owned(), began, end, transition, again)
}

/// Interleaved documents keep their own times.
#[test]
fn stages_follow_one_another() {
    let (stages, ends, writes) = run(
        by_document(),
        &[
            Event::FileWritten(file(1, "/up/x.pdf", 0, 10)),
            Event::FileWritten(file(2, "/up/y.pdf", 5, 20)),
            Event::FileWritten(file(3, "/ck/x/01_a.json", 25, 30)),
            Event::FileWritten(file(4, "/ck/y/01_a.json", 28, 50)),
            Event::FileWritten(file(5, "/ck/x/02_b.json", 90, 100)),
        ],
    );
    assert_eq!(
        stages,
        [
            stage("x", "a", Some(10), 30, None, false),
            stage("x", "b", Some(30), 100, Some(60), false),
            stage("y", "a", Some(20), 50, None, false),
        ]
    );
    assert_eq!(ends.iter().map(|end| end.is_complete).collect::<Vec<_>>(), [true, false]);
    assert_eq!((ends[0].took_ns, ends[1].last.as_deref()), (Some(90 * MS), Some("a")));
    assert_eq!(writes.len(), 3);
}

/// A request that edits is no stage; the same file without one is a stage that ran twice.
#[test]
fn edits_are_no_stages() {
    let path = "/ck/x/01_a.json";
    let (stages, _, writes) = run(
        by_document(),
        &[
            Event::FileWritten(file(1, path, 0, 10)),
            request(7, "PUT", "/stages/1", 20),
            Event::FileWritten(file(2, path, 22, 25)),
            response(7, 30),
            Event::FileWritten(file(3, path, 40, 45)),
        ],
    );
    assert_eq!(stages.iter().map(|stage| (stage.3, stage.5)).collect::<Vec<_>>(), [(10, false), (45, true)]);
    assert_eq!(writes.iter().filter(|write| write.is_edit).count(), 1);
}

/// A marker begins a stage where it says, and its end ends one that writes nothing.
#[test]
fn markers_say_more_than_files() {
    let (stages, _, _) = run(
        by_document(),
        &[
            Event::FileWritten(file(1, "/ck/x/01_a.json", 0, 10)),
            marker("b", "x", 50, true),
            Event::FileWritten(file(2, "/ck/x/02_b.json", 70, 80)),
            marker("b", "x", 81, false),
            marker("c", "x", 90, true),
            marker("c", "x", 95, false),
        ],
    );
    assert_eq!(
        stages,
        [
            stage("x", "a", None, 10, None, false),
            stage("x", "b", Some(50), 80, Some(40), false),
            stage("x", "c", Some(90), 95, Some(10), false),
        ]
    );
}

/// Who goes on long after its last stage, and after a request to, was resumed; who was on its way was not.
#[test]
fn resumed_documents_had_rested() {
    let (_, ends, _) = run(
        by_document(),
        &[
            Event::FileWritten(file(1, "/ck/x/01_a.json", 0, 10)),
            Event::FileWritten(file(2, "/ck/y/01_a.json", 1900, 1990)),
            request(7, "POST", "/resume", 2000),
            response(7, 2001),
            Event::FileWritten(file(3, "/ck/y/02_b.json", 2002, 2010)),
            Event::FileWritten(file(4, "/ck/x/02_b.json", 2005, 2020)),
        ],
    );
    assert_eq!(
        ends.iter().map(|end| (end.doc.as_str(), end.is_resumed)).collect::<Vec<_>>(),
        [("x", true), ("y", false)]
    );
}

/// A temporary file that is put in place is one checkpoint; one that is deleted, or left, is a lost one.
#[test]
fn temporary_files_are_followed() {
    let placed = FileWritten {
        was: Some("/ck/x/tmp1".to_owned()),
        placed: Placed::Rename,
        ..file(1, "/ck/x/01_a.json", 0, 12)
    };
    let (stages, _, writes) = run(
        by_document(),
        &[
            Event::FileWritten(file(1, "/ck/x/tmp1", 0, 10)),
            Event::FileWritten(placed),
            Event::FileWritten(file(2, "/ck/x/tmp2", 20, 30)),
            Event::FileRemoved(FileRemoved { ts_ns: 31 * MS, pid: 1, path: "/ck/x/tmp2".to_owned() }),
            Event::FileWritten(file(3, "/ck/x/tmp3", 40, 50)),
        ],
    );
    assert_eq!(stages, [stage("x", "a", None, 12, None, false)]);
    assert_eq!(writes.iter().map(|write| write.is_lost).collect::<Vec<_>>(), [false, true, true]);
}

/// A file that is written to once more after it was closed moves the end of its stage.
#[test]
fn ends_may_move() {
    let (stages, _, _) = run(
        by_document(),
        &[
            Event::FileWritten(file(1, "/ck/x/01_a.json", 0, 10)),
            Event::FileWritten(FileWritten { is_more: true, ..file(1, "/ck/x/01_a.json", 0, 15) }),
        ],
    );
    assert_eq!(stages, [stage("x", "a", None, 15, None, false)]);
}

/// One file that is written after each stage; the order names them, and a new round begins after the last.
#[test]
fn versions_of_one_file_are_stages() {
    let rules = profile("[stages]\norder = [\"a\", \"b\"]\n[[stage]]\nfile = \"jobs/{doc}.json\"\n");
    let (stages, ends, _) = run(
        rules,
        &[
            Event::FileWritten(file(1, "/jobs/x.json", 0, 10)),
            Event::FileWritten(file(2, "/jobs/x.json", 11, 20)),
        ],
    );
    assert_eq!(
        stages,
        [stage("x", "a", None, 10, None, false), stage("x", "b", Some(10), 20, Some(1), false)]
    );
    assert!(ends[0].is_complete);
}

/// Without documents in the names, a stage that was there already begins the next document.
#[test]
fn documents_without_names_are_counted() {
    let rules = profile("[[stage]]\nfile = \"{stage}_checkpoint.json\"\n");
    let events: Vec<Event> = ["a", "b", "a", "b", "a"]
        .iter()
        .zip(1..)
        .map(|(stage, id)| {
            Event::FileWritten(file(id, &format!("/{stage}_checkpoint.json"), id * 10, id * 10 + 5))
        })
        .collect();
    let (stages, ends, _) = run(rules, &events);
    assert_eq!((stages.len(), ends.len()), (5, 3));
    assert_eq!(ends.iter().filter(|end| end.is_complete).count(), 2);
}

/// A stage that is a request lasts as long as that.
#[test]
fn requests_are_stages() {
    let rules = profile("[[stage]]\nname = \"ocr\"\nendpoint = \"POST /docs/{doc}/ocr\"\n");
    let (stages, _, _) = run(
        rules,
        &[
            request(1, "POST", "/docs/x/ocr", 10),
            request(1, "GET", "/other", 11),
            response(1, 30),
            response(1, 31),
        ],
    );
    assert_eq!(stages, [stage("x", "ocr", Some(10), 30, None, false)]);
}

/// What no rule matches is named, for whoever wrote the rules.
#[test]
fn near_misses_are_named() {
    let mut tracker = StageTracker::new(by_document());
    let mut out = Vec::new();
    tracker.event(&Event::FileWritten(file(1, "/data/x/01_a.json", 0, 1)), &mut out);
    tracker.finish(&mut out);
    let near = out.iter().find_map(|finding| match finding {
        Finding::Stages { near, .. } => Some(near.clone()),
        _ => None,
    });
    assert_eq!(near.unwrap(), ["/data/x/01_a.json"]);
}

proptest! {
    /// Any events at all: every stage ends after it began or at once, and no document ends twice.
    #[test]
    fn anything_is_taken(steps in prop::collection::vec((0u8..6, 0u64..4, 0usize..3, 0u64..1000), 0..80)) {
        let events: Vec<Event> = steps.iter().map(|&(kind, doc, n, at)| {
            let name = ["a", "b", "c"][n];
            match kind {
                0 => Event::FileWritten(file(at, &format!("/ck/{doc}/0{n}_{name}.json"), at / 2, at)),
                1 => marker(name, &doc.to_string(), at, true),
                2 => marker(name, &doc.to_string(), at, false),
                3 => request(doc, "PUT", "/stages/1", at),
                4 => response(doc, at),
                _ => Event::FileWritten(file(at, &format!("/ck/{doc}/tmp{n}"), at / 2, at)),
            }
        }).collect();
        let (_, ends, _) = run(by_document(), &events);
        let names: std::collections::BTreeSet<_> = ends.iter().map(|end| end.doc.clone()).collect();
        prop_assert_eq!(names.len(), ends.len());
    }
}
