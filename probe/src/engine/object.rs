//! The kernel object with everything in place that is known before it is loaded.

use probe_common::{
    constants::{Constants, asked_by},
    kfunc::WORD,
};
use zerocopy::IntoBytes as _;

use super::direct_reads::DirectReads;

/// The kernel side, compiled by build.rs; empty when it was built with `PROBE_SKIP_EBPF=1`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe-kernel"));

/// The object for a kernel and a run.
pub(super) fn completed(reads: DirectReads, constants: &Constants) -> Vec<u8> {
    complete(OBJECT, reads, constants)
}

fn complete(object: &[u8], reads: DirectReads, constants: &Constants) -> Vec<u8> {
    let mut object = object.to_vec();
    // Instructions are eight bytes each, in sections that begin at such a boundary.
    for at in object.as_chunks_mut::<8>().0 {
        let instruction = u64::from_le_bytes(*at);
        if let Some(offset) = asked_by(instruction)
            && let Some(value) = constants.as_bytes().get(offset..offset + 4)
        {
            at[4..].copy_from_slice(value);
        } else if instruction == WORD {
            *at = reads.instruction().to_le_bytes();
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
        kfunc::{GIVE_BACK, call},
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
        let behind = stand_in(size_of::<Constants>()).cast_unsigned();
        let rest = [mov(1, behind), mov(1, rooms + 1)];
        let words = [mov(3, rooms), WORD, 7, mov(9, rooms), WORD, rest[0], rest[1]];
        let object: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let put = |reads: DirectReads| -> Vec<u64> {
            let constants = Constants {
                kern: KernOffsets::default(),
                rooms: Rooms(0x1234),
                missing: Missing::READ,
                follow_children: 1,
            };
            let object = complete(&object, reads, &constants);
            object.as_chunks::<8>().0.iter().map(|at| u64::from_le_bytes(*at)).collect()
        };
        for (number, instruction) in [(Some(5), call(5)), (None, GIVE_BACK)] {
            let expected = [mov(3, 0x1234), instruction, 7, mov(9, 0x1234), instruction, rest[0], rest[1]];
            assert_eq!(put(DirectReads(number)), expected);
        }
    }

    /// The compiler has left the words as they are: the kernel's function is called, each offset and each room asked for.
    #[test]
    fn the_object_has_the_words() {
        if OBJECT.is_empty() {
            return;
        }
        let words: BTreeSet<u64> =
            OBJECT.as_chunks::<8>().0.iter().map(|at| u64::from_le_bytes(*at)).collect();
        assert!(words.contains(&WORD), "no call of the kernel's function");
        let asked: BTreeSet<usize> = words.iter().filter_map(|word| asked_by(*word)).collect();
        let all: BTreeSet<usize> = (0..size_of::<Constants>()).step_by(4).collect();
        assert_eq!(asked, all, "offsets of fields that the programs ask for, and those that there are");
    }
}
