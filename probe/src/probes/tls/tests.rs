//! Calls in the orders in which servers make them, and in every other order.

use proptest::prelude::*;

use super::*;

const CONN: ConnId = 7;
const SSL: u64 = 0x5000;

fn cipher(direction: Direction, conn: ConnId, at: u64, bytes: u64, head: &[u8]) -> Bytes<'_> {
    Bytes {
        direction,
        role: Role::Server,
        conn,
        pid: 1,
        tid: 1,
        port: 443,
        enter_ns: Some(at),
        exit_ns: at + 5,
        arrival_ns: (direction == Direction::In).then_some(at - 50),
        acked_ns: None,
        nonblocking: true,
        end_seq: None,
        bytes,
        head,
        tail: &[],
    }
}

fn plain(call: Call, ssl: u64, at: (u64, u64), bytes: u64) -> Plain<'static> {
    Plain {
        call,
        pid: 1,
        tid: 1,
        ssl,
        read_conn: Some(CONN),
        enter_ns: at.0,
        exit_ns: at.1,
        bytes,
        head: b"",
        tail: Vec::new(),
    }
}

/// What came out: direction, bytes, entry, return, arrival.
type Out = Vec<(Direction, u64, Option<u64>, u64, Option<u64>)>;

fn push(out: &mut Out) -> impl FnMut(&Bytes<'_>) {
    |bytes| out.push((bytes.direction, bytes.bytes, bytes.enter_ns, bytes.exit_ns, bytes.arrival_ns))
}

fn accepted() -> Accepted {
    Accepted { ts_ns: 1, conn: CONN, pid: 1, port: 443, path: None, established_ns: None, backlog: 0 }
}

const HELLO: &[u8] = b"\x16\x03\x01\x02\x00";
const DATA: &[u8] = b"\x17\x03\x03\x00\x40";

/// A session whose handshake is done, as asyncio drives it: the library is handed what was read.
fn after_handshake() -> Sessions {
    let mut sessions = Sessions::default();
    let mut out = Out::new();
    sessions.accepted(&accepted());
    sessions.plain(&Plain { read_conn: None, ..plain(Call::Handshake, SSL, (90, 91), 0) }, push(&mut out));
    sessions.bytes(&cipher(Direction::In, CONN, 100, 517, HELLO), push(&mut out));
    sessions.plain(&plain(Call::Handshake, SSL, (110, 120), 0), push(&mut out));
    sessions.bytes(&cipher(Direction::Out, CONN, 130, 2000, HELLO), push(&mut out));
    sessions.bytes(&cipher(Direction::In, CONN, 200, 80, DATA), push(&mut out));
    sessions.plain(&plain(Call::Handshake, SSL, (210, 220), 1), push(&mut out));
    sessions.plain(&plain(Call::Read, SSL, (221, 222), 0), push(&mut out));
    sessions.bytes(&cipher(Direction::Out, CONN, 230, 500, DATA), push(&mut out));
    assert_eq!(out, []);
    sessions
}

/// A request has the times of the read that brought it, a response those of the write that carried it.
#[test]
fn memory() {
    let mut sessions = after_handshake();
    let mut out = Out::new();
    sessions.bytes(&cipher(Direction::In, CONN, 1000, 150, DATA), push(&mut out));
    sessions.plain(&plain(Call::Read, SSL, (1010, 1020), 100), push(&mut out));
    sessions.plain(&plain(Call::Read, SSL, (1021, 1022), 0), push(&mut out));
    sessions.plain(&plain(Call::Write, SSL, (1030, 1040), 300), push(&mut out));
    assert_eq!(out.len(), 1, "a response before it was sent");
    sessions.bytes(&cipher(Direction::Out, CONN, 1050, 322, DATA), push(&mut out));
    assert_eq!(
        out,
        [(Direction::In, 100, Some(1000), 1005, Some(950)), (Direction::Out, 300, Some(1050), 1055, None),]
    );
}

/// A large response to a slow reader ends with the write that carried its last bytes.
#[test]
fn short_writes() {
    let mut sessions = after_handshake();
    let mut out = Out::new();
    for n in 0..10 {
        sessions.plain(&plain(Call::Write, SSL, (1000 + n, 1001 + n), 16_384), push(&mut out));
    }
    sessions.bytes(&cipher(Direction::Out, CONN, 2000, 50_000, DATA), push(&mut out));
    assert_eq!(out.len(), 3);
    sessions.bytes(&cipher(Direction::Out, CONN, 3000, 10 * (16_384 + 22) - 50_000, b"x"), push(&mut out));
    assert_eq!(out.len(), 10);
    assert_eq!(out[9], (Direction::Out, 16_384, Some(3000), 3005, None));
    assert_eq!(out[3], (Direction::Out, 16_384, Some(2000), 3005, None), "one that was in both");
}

/// A library that reads and writes the socket itself does so inside its calls.
#[test]
fn socket() {
    let mut sessions = after_handshake();
    let mut out = Out::new();
    sessions.bytes(&cipher(Direction::In, CONN, 1010, 5, DATA), push(&mut out));
    sessions.bytes(&cipher(Direction::In, CONN, 1020, 120, b"x"), push(&mut out));
    sessions.plain(&plain(Call::Read, SSL, (1000, 1030), 100), push(&mut out));
    sessions.bytes(&cipher(Direction::Out, CONN, 1050, 322, DATA), push(&mut out));
    sessions.plain(&plain(Call::Write, SSL, (1040, 1060), 300), push(&mut out));
    assert_eq!(
        out,
        [(Direction::In, 100, Some(1010), 1025, Some(960)), (Direction::Out, 300, Some(1050), 1055, None),]
    );
}

/// Without a session, bytes are counted; another session of the same thread never takes over the connection.
#[test]
fn unknown_sessions() {
    let mut sessions = Sessions::default();
    let mut out = Out::new();
    sessions.bytes(&cipher(Direction::In, CONN, 100, 517, DATA), push(&mut out));
    sessions.bytes(&cipher(Direction::Out, CONN, 130, 2000, DATA), push(&mut out));
    assert_eq!(sessions.encrypted()[&Role::Server], Encrypted { conns: 1, bytes: 2517 });
    sessions.plain(&plain(Call::Read, SSL, (150, 160), 100), push(&mut out));
    assert!(sessions.encrypted().is_empty());
    sessions.plain(&plain(Call::Read, SSL + 64, (170, 180), 100), push(&mut out));
    assert_eq!(out.len(), 1);
}

/// What is no TLS passes as it is, whatever comes later on that connection.
#[test]
fn open_connections() {
    let mut sessions = Sessions::default();
    sessions.accepted(&accepted());
    for head in [&b"GET / HTTP/1.1\r\n"[..], HELLO, DATA] {
        let mut seen = None;
        sessions.bytes(&cipher(Direction::In, CONN, 100, 30, head), |bytes| seen = Some(bytes.head.to_vec()));
        assert_eq!(seen.as_deref(), Some(head));
    }
    assert!(sessions.encrypted().is_empty());
}

proptest! {
    /// Any calls in any order: no panic, no plain text that nobody took or returned, and memory that ends with the
    /// connections.
    #[test]
    fn any_order(calls in prop::collection::vec((0u8..7, 1u64..4, 0u64..3, 0u64..1 << 34), 0..200)) {
        let mut sessions = Sessions::default();
        let (mut given, mut got) = ([0u128; 2], [0u128; 2]);
        for (at, (what, conn, ssl, bytes)) in (1_000u64..).step_by(10).zip(calls) {
            let mut count = |bytes: &Bytes<'_>| got[usize::from(bytes.direction == Direction::Out)] += u128::from(bytes.bytes);
            let call = |call| Plain { head: b"abc", read_conn: Some(conn), ..plain(call, ssl, (at, at + 3), bytes) };
            match what {
                0 => sessions.bytes(&cipher(Direction::In, conn, at, bytes, DATA), &mut count),
                1 => sessions.bytes(&cipher(Direction::Out, conn, at, bytes, DATA), &mut count),
                2 => sessions.plain(&call(Call::Handshake), &mut count),
                3 => {
                    given[0] += u128::from(bytes);
                    sessions.plain(&call(Call::Read), &mut count);
                }
                4 => {
                    given[1] += u128::from(bytes);
                    sessions.plain(&call(Call::Write), &mut count);
                }
                5 => sessions.closed(&Closed { ts_ns: at, conn, port: 443, reset: false, unaccepted: false, acked_ns: None }),
                _ => sessions.drained(),
            }
        }
        prop_assert!(got[0] <= given[0] && got[1] <= given[1]);
        for conn in 1..4 {
            sessions.end(conn);
        }
        prop_assert_eq!(sessions.held_bytes, 0);
        prop_assert!(sessions.by_ssl.is_empty());
    }
}

/// The calls of sessions on connections that are followed no longer come all the same: none is taken for another one's,
/// whatever their threads read last.
#[test]
fn outside_the_sample() {
    const KEPT: ConnId = 8;
    let half = Sample { one_in: 2 };
    assert!(!half.has(CONN) && half.has(KEPT));
    let mut sessions = after_handshake();
    let mut out = Out::new();
    sessions.keep(half);
    assert!(sessions.encrypted().is_empty());
    // One that is followed and has no session yet.
    sessions.accepted(&Accepted { conn: KEPT, ..accepted() });
    sessions.bytes(&cipher(Direction::In, KEPT, 1000, 517, HELLO), push(&mut out));
    let read_kept = |plain| Plain { read_conn: Some(KEPT), ..plain };
    sessions.plain(&read_kept(plain(Call::Write, SSL, (1030, 1040), 300)), push(&mut out));
    sessions.plain(&read_kept(plain(Call::Read, SSL, (1041, 1042), 300)), push(&mut out));
    // A new session outside the sample, and what it writes once its thread has read from the other one.
    sessions.plain(&plain(Call::Handshake, SSL + 1, (1050, 1060), 1), push(&mut out));
    sessions.plain(&read_kept(plain(Call::Write, SSL + 1, (1070, 1080), 300)), push(&mut out));
    sessions.bytes(&cipher(Direction::Out, KEPT, 1090, 2000, HELLO), push(&mut out));
    assert_eq!((out, sessions.n_awaited()), (Out::new(), 0));
    // The followed one finds its session as ever, also at an address that was another one's.
    let mut out = Out::new();
    sessions.bytes(&cipher(Direction::In, KEPT, 1100, 80, DATA), push(&mut out));
    sessions.plain(&read_kept(plain(Call::Handshake, SSL, (1110, 1120), 1)), push(&mut out));
    sessions.plain(&read_kept(plain(Call::Read, SSL, (1121, 1122), 0)), push(&mut out));
    sessions.bytes(&cipher(Direction::In, KEPT, 1200, 150, DATA), push(&mut out));
    sessions.plain(&read_kept(plain(Call::Read, SSL, (1210, 1220), 100)), push(&mut out));
    assert_eq!(out, [(Direction::In, 100, Some(1200), 1205, Some(1150))]);
}
