//! The kernel object with everything in place that is known before it is loaded.

use probe_common::{
    constants::{Constants, asked_by},
    kfunc::WORD,
};
use zerocopy::IntoBytes as _;

use super::{direct_reads::DirectReads, tracepoints::Tracepoints};
use crate::probes;

/// The kernel side, compiled by build.rs; empty when it was built with `PROBE_SKIP_EBPF=1`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe-kernel"));

/// How the names of sections begin whose programs are for raw tracepoints, and for perf's: as long, so that it can stand in
/// the same place. What a section's name begins with says of what type its program is.
const RAW_SECTION: &[u8] = b"raw_tp/";
const PERF_SECTION: &[u8] = b"tp/raw_";

/// The object for a kernel and a run.
pub(super) fn completed(reads: DirectReads, tracepoints: Tracepoints, constants: &Constants) -> Vec<u8> {
    let mut object = complete(OBJECT, reads, constants);
    if tracepoints == Tracepoints::Perf {
        let hooks = probes::hooks(probes::every_room()).filter(|(_, hook)| hook.perf.is_some());
        let names: Vec<&[u8]> = hooks.map(|(_, hook)| hook.tracepoint.as_bytes()).collect();
        retype(&mut object, &names);
    }
    object
}

/// Makes the programs for these tracepoints ones for perf's.
fn retype(object: &mut [u8], tracepoints: &[&[u8]]) {
    let length = RAW_SECTION.len();
    for at in 0..object.len().saturating_sub(length) {
        let named =
            object[at..].strip_prefix(RAW_SECTION).and_then(|name| name.split(|byte| *byte == 0).next());
        if named.is_some_and(|name| tracepoints.contains(&name)) {
            object[at..at + length].copy_from_slice(PERF_SECTION);
        }
    }
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

    /// Names keep their length, and those of other sections are left alone.
    #[test]
    fn sections_are_renamed() {
        let mut names =
            *b"\0raw_tp/sys_enter\0raw_tp/tcp_probe\0.relraw_tp/sys_exit\0raw_tp/sys_exit_\0raw_tp/";
        retype(&mut names, &[b"sys_enter", b"sys_exit"]);
        assert_eq!(
            &names,
            b"\0tp/raw_sys_enter\0raw_tp/tcp_probe\0.reltp/raw_sys_exit\0raw_tp/sys_exit_\0raw_tp/"
        );
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
