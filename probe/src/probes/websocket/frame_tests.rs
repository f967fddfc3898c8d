//! Streams that were put together from frames, cut at any place, with payloads that were not captured; and noise.

use proptest::prelude::*;

use super::*;

/// A frame, masked as a client does with a key other than zero.
fn frame(first: u8, payload: &[u8], is_masked: bool) -> Vec<u8> {
    let mask_bit = if is_masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(n @ 0..=125), _) => bytes.push(n | mask_bit),
        (_, Ok(n)) => {
            bytes.push(0x7e | mask_bit);
            bytes.extend(n.to_be_bytes());
        }
        _ => {
            bytes.push(0x7f | mask_bit);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if is_masked {
        let key = [1, 2, 3, 4];
        bytes.extend(key);
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        bytes.extend(payload);
    }
    bytes
}

fn walk(frames: &mut Frames, bytes: &[u8]) -> (Vec<Found>, Result<(), Broken>) {
    let mut all = Vec::new();
    let result = frames.seen(bytes, &mut |found, _| all.push(found));
    (all, result)
}

/// A fragmented message with a ping inside it, then one in a single compressed frame, then the end.
#[test]
fn fragments_and_control_frames() {
    for is_masked in [false, true] {
        let stream = [
            frame(0x01, b"hel", is_masked),
            frame(0x89, b"now?", is_masked),
            frame(0x80, b"lo", is_masked),
            frame(0xc2, &[7; 300], is_masked),
            frame(0x88, &[3, 232], is_masked),
        ]
        .concat();
        let (found, result) = walk(&mut Frames::new(is_masked), &stream);
        assert_eq!(result, Ok(()));
        assert_eq!(
            found,
            [
                Found::Began,
                Found::Control(PING, Some(b"now?".to_vec())),
                Found::Message(5),
                Found::Began,
                Found::Message(300),
                Found::Control(CLOSE, Some(vec![3, 232])),
            ]
        );
    }
}

/// What no endpoint may send is not decoded.
#[test]
fn what_is_no_frame() {
    for (bytes, is_masked) in [
        (&b"GET / HTTP/1.1"[..], false),
        (&[0x81, 0x80, 0, 0, 0, 0], false),
        (&[0x81, 0x00], true),
        (&[0x83, 0x00], false),
        (&[0xb1, 0x00], false),
        (&[0x80, 0x00], false),
        (&[0x09, 0x00], false),
        (&[0x89, 0x7e, 0, 126], false),
        (&[0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], false),
        (&[0x01, 0x01, b'x', 0x01], false),
    ] {
        assert_eq!(walk(&mut Frames::new(is_masked), bytes).1, Err(Broken), "{bytes:x?}");
    }
    let mut frames = Frames::new(false);
    assert_eq!(frames.gap(1, &mut |_, _| {}), Err(Broken), "a header that nobody saw");
}

proptest! {
    /// However the stream is cut, and whichever payload bytes were not captured, the messages are the same.
    #[test]
    fn cuts_and_gaps(
        lengths in prop::collection::vec(prop_oneof![0usize..4, 120usize..130, 65_530usize..65_540], 1..8),
        cuts in prop::collection::vec(1usize..5000, 1..50),
        is_masked: bool,
        captured in 14usize..200,
    ) {
        let stream: Vec<u8> = lengths.iter().flat_map(|n| frame(0x82, &vec![b'x'; *n], is_masked)).collect();
        let sum = |found: &[Found]| found.iter().map(|found| match found {
            Found::Message(bytes) => *bytes,
            _ => 0,
        }).collect::<Vec<_>>();
        let (whole, result) = walk(&mut Frames::new(is_masked), &stream);
        prop_assert_eq!(result, Ok(()));
        let mut frames = Frames::new(is_masked);
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            let (found, result) = walk(&mut frames, piece);
            prop_assert_eq!(result, Ok(()));
            pieces.extend(found);
            rest = behind;
        }
        prop_assert_eq!(sum(&whole), sum(&pieces));
        // A frame per call, of which only the beginning was captured.
        let mut frames = Frames::new(is_masked);
        let mut counted = Vec::new();
        for n in &lengths {
            let bytes = frame(0x82, &vec![b'x'; *n], is_masked);
            let (seen, unseen) = bytes.split_at(captured.min(bytes.len()));
            prop_assert_eq!(frames.seen(seen, &mut |found, _| counted.push(found)), Ok(()));
            prop_assert_eq!(frames.gap(unseen.len() as u64, &mut |found, _| counted.push(found)), Ok(()));
        }
        prop_assert_eq!(sum(&whole), sum(&counted));
    }

    /// Any bytes at all: no panic, and never more than a header or a control frame is held.
    #[test]
    fn noise(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0u64..1 << 41), 0..20), is_masked: bool) {
        let mut frames = Frames::new(is_masked);
        for (bytes, gap) in pieces {
            if frames.seen(&bytes, &mut |_, _| {}).is_err() || frames.gap(gap, &mut |_, _| {}).is_err() {
                break;
            }
            match &frames.state {
                State::Header(header) => prop_assert!(header.len() < MAX_HEADER),
                State::Payload { control, .. } => {
                    prop_assert!(control.as_ref().is_none_or(|control| control.len() <= MAX_CONTROL));
                }
            }
        }
    }
}
