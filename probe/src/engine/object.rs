//! The kernel object with everything in place that is known before it is loaded.

use probe_common::constants::{Constants, asked_by};
use zerocopy::IntoBytes as _;

use super::kfuncs::Kfuncs;

/// The kernel side, compiled by build.rs; empty when it was built with `PROBE_SKIP_EBPF=1`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe-kernel"));

/// The object for a kernel and a run.
pub(super) fn completed(kfuncs: &Kfuncs, constants: &Constants) -> Vec<u8> {
    complete(OBJECT, kfuncs, constants)
}

fn complete(object: &[u8], kfuncs: &Kfuncs, constants: &Constants) -> Vec<u8> {
    let mut object = object.to_vec();
    // Instructions are eight bytes each, in sections that begin at such a boundary.
    for at in object.as_chunks_mut::<8>().0 {
        let instruction = u64::from_le_bytes(*at);
        if let Some(offset) = asked_by(instruction)
            && let Some(value) = constants.as_bytes().get(offset..offset + 4)
        {
            at[4..].copy_from_slice(value);
        } else if let Some(call) = kfuncs.in_place_of(instruction) {
            *at = call.to_le_bytes();
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, mem::offset_of};

    use probe_common::{
        constants::stand_in,
        kern::KernOffsets,
        kfunc::{self, call},
        rooms::Rooms,
        rungs::Missing,
    };

    use super::*;

    /// `rREGISTER = NUMBER`.
    fn mov(register: u64, number: u32) -> u64 {
        0xb7 | register << 8 | u64::from(number) << 32
    }

    /// Values and calls are put in, whatever the register, and nothing else changes.
    #[test]
    fn words_are_replaced() {
        let rooms = stand_in(offset_of!(Constants, rooms)).cast_unsigned();
        let [readable, begin, end] = kfunc::ALL.map(|kfunc| kfunc.word);
        let behind = stand_in(size_of::<Constants>()).cast_unsigned();
        let words =
            [mov(3, rooms), readable, 7, mov(9, rooms), begin, end, mov(1, behind), mov(1, rooms + 1)];
        let object: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let put = |kfuncs: &Kfuncs| -> Vec<u64> {
            let constants = Constants {
                kern: KernOffsets::default(),
                rooms: Rooms(0x1234),
                missing: Missing::READ,
                follow_children: 1,
            };
            let object = complete(&object, kfuncs, &constants);
            object.as_chunks::<8>().0.iter().map(|at| u64::from_le_bytes(*at)).collect()
        };
        let all = Kfuncs { readable: Some(5), undivided: Some([6, 8]) };
        let rest = [mov(1, behind), mov(1, rooms + 1)];
        let expected = [mov(3, 0x1234), call(5), 7, mov(9, 0x1234), call(6), call(8), rest[0], rest[1]];
        assert_eq!(put(&all), expected);
        let [give_back, go_on] = [kfunc::READABLE.without, kfunc::PREEMPT_DISABLE.without];
        let expected = [mov(3, 0x1234), give_back, 7, mov(9, 0x1234), go_on, go_on, rest[0], rest[1]];
        assert_eq!(put(&Kfuncs::default()), expected);
    }

    /// The compiler has left the words as they are: each function is called, each offset and each room asked for.
    #[test]
    fn the_object_has_the_words() {
        if OBJECT.is_empty() {
            return;
        }
        let words: BTreeSet<u64> =
            OBJECT.as_chunks::<8>().0.iter().map(|at| u64::from_le_bytes(*at)).collect();
        for kfunc in kfunc::ALL {
            assert!(words.contains(&kfunc.word), "no call of {}", kfunc.name);
        }
        let asked: BTreeSet<usize> = words.iter().filter_map(|word| asked_by(*word)).collect();
        let all: BTreeSet<usize> = (0..size_of::<Constants>()).step_by(4).collect();
        assert_eq!(asked, all, "offsets of fields that the programs ask for, and those that there are");
    }
}
