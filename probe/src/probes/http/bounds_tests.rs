//! Memory is bounded, whatever many clients do.

use super::tests::{GET, OK5, Script};
use super::*;
use crate::probes::bytes::Direction;

/// Ends that were lost do not fill the table for ever.
#[test]
fn connections_are_bounded() {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    for conn in 0..(MAX_CONNS as u64 + 10) {
        let mut accepted =
            Accepted { ts_ns: 1, conn, pid: 1, port: 80, path: None, established_ns: None, backlog: 1 };
        decoder.accepted(&mut accepted, &mut out);
    }
    assert!(decoder.conns.len() <= MAX_CONNS);
    let oldest_closed =
        matches!(&out[..], [Event::Closed(Closed { conn, .. }), ..] if *conn < MAX_CONNS as u64 / 16);
    assert!(oldest_closed);
    assert_eq!(decoder.undecoded().map(|(_, why, _)| why).collect::<Vec<_>>(), [Why::Capacity]);
}

/// Thousands of unfinished heads do not grow memory without bound.
#[test]
fn held_bytes_are_bounded() {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    let filler = [b"GET /a HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 30_000]].concat();
    for conn in 0..1000 {
        let mut accepted =
            Accepted { ts_ns: 1, conn, pid: 1, port: 80, path: None, established_ns: None, backlog: 1 };
        decoder.accepted(&mut accepted, &mut out);
        let read = Bytes { conn, ..Script::new().call(Direction::In, &filler, filler.len() as u64, b"") };
        decoder.bytes(&read, &mut out);
    }
    assert!(decoder.held_bytes <= MAX_HELD, "{}", decoder.held_bytes);
    let given_up: u64 = decoder.undecoded().map(|(_, _, undecoded)| undecoded.conns).sum();
    assert!(given_up > 0);
    assert!(out.is_empty());
}

/// Connections that are followed no longer leave nothing: no end, no request, no memory.
#[test]
fn outside_the_sample() {
    let half = Sample { one_in: 2 };
    assert!(!half.has(7) && half.has(8));
    let head = &GET[..GET.len() - 2];
    for script in [Script::new().reads(GET), Script::new().reads(head), Script::new().reads(GET).closes()] {
        let Script { mut decoder, mut out, .. } = script;
        let kept = Bytes { conn: 8, ..Script::new().call(Direction::In, head, head.len() as u64, b"") };
        decoder.bytes(&kept, &mut out);
        out.clear();
        decoder.keep(half);
        decoder.drained(&mut out);
        decoder.drained(&mut out);
        assert_eq!((decoder.conns.len(), decoder.held_bytes), (1, decoder_bytes(&decoder)));
        decoder.finish(100, &mut out);
        assert!(out.is_empty(), "{out:?}");
    }
}

fn decoder_bytes(decoder: &Decoder) -> usize {
    let held =
        decoder.conns.values().map(|state| if let State::Http(conn) = state { conn.held_bytes() } else { 0 });
    held.sum()
}

/// A chunked body with its size lines out of sight does not end at what only looks like its last chunk, and does where
/// the next request begins: in the next read, or in the same.
#[test]
fn lost_chunks_of_a_request() {
    let head = b"POST /u HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let looks_like_it = b"data\r\n0\r\n\r\n";
    let script = Script::new()
        .reads_gap(head, 9_000, looks_like_it)
        .reads_gap(b"more", 9_000, looks_like_it)
        .reads(GET)
        .writes(OK5)
        .writes(OK5)
        .finishes();
    assert_eq!(script.told(), ["POST /u 18000 200 43 Complete 10..40", "GET /a 19 200 43 Complete 30..50"]);
    let both = [looks_like_it, GET].concat();
    let script = Script::new().reads_gap(head, 9_000, &both).writes(OK5).writes(OK5).finishes();
    assert_eq!(script.told(), ["POST /u 8981 200 43 Complete 10..20", "GET /a 19 200 43 Complete 10..30"]);
    assert_eq!(script.undecoded(), []);
}
