//! The same traffic in one piece and cut anywhere: the same requests, to the byte, on both sides of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::probes::bytes::{Direction, Role};
use probe_fuzz::Stage;

fuzz_target!(|input: &[u8]| {
    let [cut_in, cut_out, rest @ ..] = input else { return };
    let at = rest.windows(2).position(|two| two == b"\xff\xff").unwrap_or(rest.len());
    let (requests, responses) = rest.split_at(at);
    let responses = responses.get(2..).unwrap_or_default();
    for role in [Role::Server, Role::Client] {
        let (first, second) = match role {
            Role::Server => (Direction::In, Direction::Out),
            Role::Client => (Direction::Out, Direction::In),
        };
        let told = |cut_in: usize, cut_out: usize| {
            let mut stage = Stage::default();
            match role {
                Role::Server => stage.accept(1),
                Role::Client => stage.connect(1),
            }
            for (direction, bytes, cut) in [(first, requests, cut_in), (second, responses, cut_out)] {
                for piece in bytes.chunks(cut) {
                    stage.call(1, role, direction, piece, 0, b"");
                }
            }
            stage.finish()
        };
        let whole = told(usize::MAX, usize::MAX);
        let pieces = told(usize::from(*cut_in).max(1), usize::from(*cut_out).max(1));
        assert_eq!(whole, pieces);
    }
});
