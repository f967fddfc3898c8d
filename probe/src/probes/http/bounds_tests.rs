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
