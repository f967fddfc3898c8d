//! Any frames, cut anywhere: no panic, messages no longer than what came, and the cuts change nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::{
    event::Event,
    probes::{
        bytes::{Direction, Role},
        websocket::Decoder,
    },
};
use probe_fuzz::bytes;

fuzz_target!(|input: &[u8]| {
    let [cut, rest @ ..] = input else { return };
    for direction in [Direction::In, Direction::Out] {
        let told = |cut: usize| {
            let (mut decoder, mut out, mut now) = (Decoder::default(), Vec::new(), 10);
            decoder.upgraded(1);
            for piece in rest.chunks(cut) {
                now += 10;
                decoder.bytes(&bytes(1, Role::Server, direction, now, piece), &mut out);
                decoder.acked(1, now as u32, now + 1, &mut out);
            }
            decoder.closed(1);
            let sizes = out.iter().filter_map(|event| match event {
                Event::Message(message) => Some(message.bytes),
                _ => None,
            });
            let sizes: Vec<u64> = sizes.collect();
            assert!(sizes.iter().sum::<u64>() <= rest.len() as u64);
            (sizes, decoder.undecoded().conns)
        };
        assert_eq!(told(usize::MAX), told(usize::from(*cut).max(1)));
    }
});
