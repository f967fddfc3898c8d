//! Any calls in any order on a few connections, in either role: no panic, and every request has one end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::probes::bytes::{Direction, Role};
use probe_fuzz::{CONNS, Stage};

fuzz_target!(|input: &[u8]| {
    let mut stage = Stage::default();
    let mut rest = input;
    while let [what, len, behind @ ..] = rest {
        let conn = 1 + u64::from(*what >> 3) % CONNS;
        let (bytes, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        // A connection keeps its role.
        let role = if conn == CONNS { Role::Client } else { Role::Server };
        match what & 7 {
            0 => stage.accept(conn),
            1 => stage.close(conn, what & 0x80 != 0),
            2 => stage.drain(),
            3 => stage.connect(conn),
            4 => stage.call(conn, role, Direction::In, bytes, u64::from(*what) << 9, &bytes[..bytes.len() / 2]),
            5 => stage.call(conn, role, Direction::Out, bytes, u64::from(*what) << 9, &bytes[..bytes.len() / 2]),
            6 => stage.call(conn, role, Direction::In, bytes, 0, b""),
            _ => stage.call(conn, role, Direction::Out, bytes, 0, b""),
        }
        rest = behind;
    }
    stage.finish();
});
