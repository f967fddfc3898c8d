//! Any cipher text and any calls of a TLS library, in any order: what is handed on was in some call's plain text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::{
    event::{Accepted, Closed},
    probes::{
        bytes::{Direction, Role},
        tls::{Call, Plain, Sessions},
    },
};
use probe_fuzz::{CONNS, bytes};

fuzz_target!(|input: &[u8]| {
    let mut sessions = Sessions::default();
    let (mut rest, mut now, mut given, mut taken) = (input, 10, 0, 0);
    while let [what, len, behind @ ..] = rest {
        now += 10;
        let conn = 1 + u64::from(*what >> 3) % CONNS;
        let (moved, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        let mut call = |sessions: &mut Sessions, call: Call| {
            let plain = Plain {
                call,
                pid: 1,
                tid: 1,
                ssl: conn,
                read_conn: (*what & 0x80 == 0).then_some(conn),
                enter_ns: now - 1,
                exit_ns: now,
                bytes: moved.len() as u64,
                head: moved,
                tail: Vec::new(),
            };
            given += moved.len() as u64;
            sessions.plain(&plain, |bytes| taken += bytes.bytes);
        };
        match what & 7 {
            0 => sessions.accepted(&Accepted {
                ts_ns: now,
                conn,
                pid: 1,
                port: 443,
                path: None,
                established_ns: None,
                backlog: 0,
            }),
            1 => sessions.closed(&Closed {
                ts_ns: now,
                conn,
                port: 443,
                reset: false,
                unaccepted: false,
                acked_ns: None,
            }),
            2 => sessions.drained(),
            3 => call(&mut sessions, Call::Handshake),
            4 => call(&mut sessions, Call::Read),
            5 => call(&mut sessions, Call::Write),
            direction => {
                let direction = if direction == 6 { Direction::In } else { Direction::Out };
                given += moved.len() as u64;
                if !moved.is_empty() {
                    let cipher = bytes(conn, Role::Server, direction, now, moved);
                    sessions.bytes(&cipher, |bytes| taken += bytes.bytes);
                }
            }
        }
        rest = behind;
    }
    assert!(taken <= given, "{taken} of {given} bytes");
});
