//! Calls on a WebSocket as servers and the kernel make them.

use proptest::prelude::*;

use super::*;
use crate::probes::bytes::Role;

const CONN: ConnId = 3;

fn call(direction: Direction, at: u64, head: &[u8], end_seq: u32) -> Bytes<'_> {
    Bytes {
        direction,
        role: Role::Server,
        conn: CONN,
        pid: 1,
        tid: 1,
        port: 80,
        enter_ns: Some(at),
        exit_ns: at + 5,
        arrival_ns: (direction == Direction::In).then(|| at.saturating_sub(50)),
        acked_ns: None,
        nonblocking: true,
        end_seq: (direction == Direction::Out).then_some(end_seq),
        bytes: head.len() as u64,
        head,
        tail: &[],
    }
}

fn open() -> Decoder {
    let mut decoder = Decoder::default();
    decoder.upgraded(CONN);
    decoder
}

/// A question and its answer, with the acknowledgement that came before the call returned.
#[test]
fn message_and_delivery() {
    let mut decoder = open();
    let mut out = Vec::new();
    decoder.bytes(&call(Direction::In, 1000, b"\x81\x83\0\0\0\0abc", 0), &mut out);
    decoder.acked(CONN, 505, 2003, &mut out);
    decoder.bytes(&call(Direction::Out, 2000, b"\x81\x03abc", 505), &mut out);
    decoder.bytes(&call(Direction::Out, 3000, b"\x81\x03abc\x81\x02de", 514), &mut out);
    decoder.acked(CONN, 510, 3010, &mut out);
    decoder.acked(CONN, 514, 3020, &mut out);
    let message = |inbound, bytes, first_ns, last_ns| {
        Event::Message(Message { conn: CONN, inbound, bytes, first_ns: Some(first_ns), last_ns })
    };
    let acked = |sent_ns, acked_ns| Event::MessageAcked(MessageAcked { conn: CONN, sent_ns, acked_ns });
    assert_eq!(
        out,
        [
            message(true, 3, 950, 1005),
            message(false, 3, 2000, 2000),
            acked(2000, 2003),
            message(false, 3, 3000, 3000),
            message(false, 2, 3000, 3000),
            acked(3000, 3010),
            acked(3000, 3020),
        ]
    );
}

/// A pong belongs to the ping with its payload; one that nobody asked for to none.
#[test]
fn pings() {
    let mut decoder = open();
    let mut out = Vec::new();
    for (at, ping) in [(1000, b"\x89\x01a"), (2000, b"\x89\x01b"), (3000, b"\x89\x01c")] {
        decoder.bytes(&call(Direction::Out, at, ping, 0), &mut out);
    }
    for pong in [b"\x8a\x81\x01\0\0\0c", b"\x8a\x81\x01\0\0\0z"] {
        let key = [1u8, 0, 0, 0];
        let masked: Vec<u8> = pong[..6].iter().copied().chain([pong[6] ^ key[0]]).collect();
        decoder.bytes(&call(Direction::In, 2500, &masked, 0), &mut out);
        decoder.bytes(&call(Direction::In, 4000, &masked, 0), &mut out);
    }
    assert_eq!(out, [], "of a ping that was sent after the pong arrived, and all before it");
    decoder.bytes(&call(Direction::Out, 5000, b"\x89\x00", 0), &mut out);
    decoder.bytes(&call(Direction::In, 6000, b"\x8a\x80\0\0\0\0", 0), &mut out);
    assert_eq!(out, [Event::Pong(Pong { conn: CONN, sent_ns: 5000, arrived_ns: 5950 })]);
}

/// From the first impossible byte on a connection is counted, and nothing is made of it.
#[test]
fn hostile() {
    let mut decoder = open();
    let mut out = Vec::new();
    decoder
        .bytes(&call(Direction::In, 1000, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 0), &mut out);
    decoder.bytes(&call(Direction::In, 2000, b"\x81\x83\0\0\0\0abc", 0), &mut out);
    decoder.bytes(&call(Direction::Out, 3000, b"\x81\x03abc", 9), &mut out);
    assert_eq!(out, []);
    assert_eq!(decoder.undecoded(), Undecoded { conns: 1, bytes: 14 + 9 + 5 });
}

proptest! {
    /// Whatever both sides send and acknowledge: no panic, and memory within its bounds.
    #[test]
    fn any_calls(calls in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 0..40), any::<u32>()), 0..60)) {
        let mut decoder = open();
        let mut out = Vec::new();
        for (at, (what, bytes, seq)) in (0u64..).zip(&calls) {
            match what {
                0 => decoder.bytes(&call(Direction::In, at, bytes, 0), &mut out),
                1 => decoder.bytes(&call(Direction::Out, at, bytes, *seq), &mut out),
                _ => decoder.acked(CONN, *seq, at, &mut out),
            }
        }
        if let Some(Some(conn)) = decoder.conns.get(&CONN) {
            prop_assert!(conn.pings.len() <= MAX_PINGS && conn.unacked.len() <= MAX_UNACKED);
            prop_assert!(conn.acks.len() <= MAX_ACKS);
        }
    }
}
