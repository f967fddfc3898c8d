//! What is known before the object is loaded: user space puts it into the instructions that bring such a value into a
//! register, so that the verifier drops what it rules out, and nothing is left to read at run time.

use zerocopy::{Immutable, IntoBytes};

use crate::{kern::KernOffsets, rooms::Rooms, rungs::Missing};

/// The values of one run. Each field is a word of four bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
pub struct Constants {
    /// Where the kernel's structs have their members.
    pub kern: KernOffsets,
    /// The rooms that are on.
    pub rooms: Rooms,
    /// What the programs have to do without.
    pub missing: Missing,
    /// 0 keeps to the processes that were named.
    pub follow_children: u32,
}

/// What stands in the object for the first field; for the others their offset is added.
const FIRST: i32 = 0x6b67_0000;

/// The number that an instruction of the object bears in place of the field at this offset.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the struct is small")]
pub const fn stand_in(offset: usize) -> i32 {
    FIRST + offset as i32
}

/// The offset of the field that an instruction asks for, an instruction of eight bytes read as one number: a move
/// (`BPF_ALU64 | BPF_MOV | BPF_K`) of such a number into any register.
#[must_use]
pub const fn asked_by(instruction: u64) -> Option<usize> {
    /// All but the register.
    const SHAPE: u64 = 0xffff_f0ff;
    const MOVE: u64 = 0xb7;
    let offset = (instruction >> 32).wrapping_sub(FIRST as u64);
    if instruction & SHAPE == MOVE && offset < size_of::<Constants>() as u64 && offset.is_multiple_of(4) {
        Some(offset as usize)
    } else {
        None
    }
}
