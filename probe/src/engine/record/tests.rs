//! What is written is read again; what was not written by us is refused with its line.

use proptest::prelude::*;

use super::*;
use crate::event::{Closed, Exit};

fn header() -> Header {
    Header {
        run_id: "r1".to_owned(),
        start_ns: 100,
        host: "h".to_owned(),
        target_pid: 7,
        ..Header::default()
    }
}

fn exit(ts_ns: u64) -> Event {
    Event::Exit(Exit { ts_ns, pid: 7 })
}

/// The events and the summary of a text.
fn read_text(text: &[u8]) -> anyhow::Result<(Vec<Event>, Summary)> {
    let mut events = Vec::new();
    let summary = read_from(text, |event| events.push(event))?;
    Ok((events, summary))
}

fn refusal(text: &[u8]) -> String {
    format!("{:#}", read_text(text).unwrap_err())
}

/// A recording as a file, without its last `cut` bytes.
fn recorded(events: &[Event], summary: Option<&Summary>, cut: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), &header()).unwrap();
    for event in events {
        writer.event(event);
    }
    match summary {
        Some(summary) => writer.finish(summary).unwrap(),
        None => drop(writer),
    }
    let mut bytes = std::fs::read(folder.path().join(FILE_NAME)).unwrap();
    bytes.truncate(bytes.len() - cut);
    bytes
}

#[test]
fn a_run_is_read_as_it_was_written() {
    let events = [
        exit(200),
        Event::Closed(Closed {
            ts_ns: 300,
            conn: 1,
            port: 80,
            reset: true,
            unaccepted: false,
            acked_ns: None,
        }),
    ];
    let summary =
        Summary { run_id: "r1".to_owned(), end_ns: 400, bpf_cpu_ratio: Some(0.01), ..Summary::default() };
    assert_eq!(read_text(&recorded(&events, Some(&summary), 0)).unwrap(), (events.to_vec(), summary));
}

#[test]
fn a_killed_run_is_read_as_far_as_it_goes() {
    let events = [exit(200), exit(300)];
    let (read, summary) = read_text(&recorded(&events, None, 0)).unwrap();
    assert_eq!(read, events);
    assert_eq!(summary.ended_by, EndedBy::Unfinished);
    assert_eq!((summary.start_ns, summary.end_ns, summary.events), (100, 300, 2));
    assert_eq!((summary.run_id.as_str(), summary.target_pid), ("r1", 7));
    // Cut in the middle of the last event.
    let (read, summary) = read_text(&recorded(&events, None, 5)).unwrap();
    assert_eq!((read.len(), summary.end_ns), (1, 200));
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let good = String::from_utf8(recorded(&[exit(200)], None, 0)).unwrap();
    for (text, words) in [
        (String::new(), "it is empty"),
        ("x\n".to_owned(), "line 1: not the header of a recording"),
        ("{}\n".to_owned(), "line 1: not the header"),
        (good.replace("recording/1", "recording/2"), "unknown format `probe.recording/2`"),
        (format!("{good}{{\"event\":\"exit\"}}\n"), "line 3: not an event: missing field `ts_ns`"),
        (format!("{good}\n"), "line 3: not an event"),
        (format!("{good}{{\"summary\":{{}}}}\n"), "line 3: not an event"),
    ] {
        let error = refusal(text.as_bytes());
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn an_endless_line_is_refused() {
    struct Endless;
    impl io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let error = read_from(BufReader::new(Endless), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "line 1: longer than 4 MiB");
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_run() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut writer = Writer { state: Ok(BufWriter::with_capacity(16, full)) };
    for _ in 0..100 {
        writer.event(&exit(1));
    }
    assert!(writer.state.is_err(), "it stops at the first error");
    let error = format!("{:#}", writer.finish(&Summary::default()).unwrap_err());
    assert!(error.contains("No space left on device"), "{error}");
}

#[test]
fn a_recording_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    Writer::create(folder.path(), &header()).unwrap();
    let error = Writer::create(folder.path(), &header()).unwrap_err().to_string();
    assert!(error.starts_with("failed to create recording `"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = read_text(&bytes);
    }

    /// Behind a good header garbage comes further.
    #[test]
    fn any_lines_are_read_or_refused(
        lines in prop::collection::vec("(\\{\"(event|summary)\":[\"{}a-z0-9:,]{0,20})|[ -~]{0,20}", 0..5)
    ) {
        let mut bytes = recorded(&[exit(200)], None, 0);
        bytes.extend(lines.join("\n").bytes());
        let _ = read_text(&bytes);
    }
}
