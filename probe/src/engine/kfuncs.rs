//! The kernel's own functions that the programs call where there are such: found by name, tried with the verifier, and put
//! into the object before it is loaded.
//!
//! They change what a run costs and whether a program can be interrupted, never what is seen: without them nothing is
//! blind.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use btf_rs::Btf;
use nix::libc;
use probe_common::{
    kfunc::{Kfunc, PREEMPT_DISABLE, PREEMPT_ENABLE, READABLE, call},
    rungs::Missing,
};

use crate::host;

/// The first kernel that lets another task run in the middle of a program at a tracepoint.
const PREEMPTS_PROGRAMS: (u32, u32) = (7, 0);

/// `r1 = 0`, `r2 = 0`, `r0 = 0`, `exit`.
const R1_IS_0: u64 = 0x01b7;
const R2_IS_0: u64 = 0x02b7;
const R0_IS_0: u64 = 0x00b7;
const EXIT: u64 = 0x95;
/// `r1 = *(u64 *)(r0 + 0)`.
const READ: u64 = 0x0179;

/// Functions with the numbers that this kernel calls them by.
#[derive(Clone, Debug, Default)]
pub(super) struct Kfuncs {
    readable: Option<u32>,
    /// The beginning, and the end.
    undivided: Option<[u32; 2]>,
}

impl Kfuncs {
    /// Those that the kernel has and accepts, less those whose name is in `without`.
    pub(super) fn find(btf: &Btf, without: &[String]) -> Self {
        let number = |kfunc: Kfunc| {
            let is_wanted = without.iter().all(|name| name != kfunc.name);
            is_wanted.then(|| btf.resolve_ids_by_name(kfunc.name).ok()?.first().copied()).flatten()
        };
        let readable = number(READABLE)
            .filter(|number| is_accepted(&[R1_IS_0, R2_IS_0, call(*number), READ, R0_IS_0, EXIT]));
        let undivided = || {
            let pair = [number(PREEMPT_DISABLE)?, number(PREEMPT_ENABLE)?];
            is_accepted(&[call(pair[0]), call(pair[1]), R0_IS_0, EXIT]).then_some(pair)
        };
        // Elsewhere it would only cost.
        let undivided = if host::own_version() >= PREEMPTS_PROGRAMS { undivided() } else { None };
        Self { readable, undivided }
    }

    /// What the programs must do without.
    pub(super) const fn missing(&self) -> Missing {
        if self.readable.is_some() { Missing::NOTHING } else { Missing::DIRECT_READS }
    }

    /// The object with its calls in place.
    pub(super) fn put_into(&self, object: &[u8]) -> Vec<u8> {
        let [begin, end] = self.undivided.map_or([None; 2], |pair| pair.map(Some));
        let mut object = object.to_vec();
        for (kfunc, number) in [(READABLE, self.readable), (PREEMPT_DISABLE, begin), (PREEMPT_ENABLE, end)] {
            let instruction = number.map_or(kfunc.without, call).to_le_bytes();
            // Instructions are eight bytes each, in sections that begin at such a boundary.
            for at in object.chunks_exact_mut(8).filter(|at| **at == kfunc.word.to_le_bytes()) {
                at.copy_from_slice(&instruction);
            }
        }
        object
    }
}

/// The part of `union bpf_attr` that loads a program (include/uapi/linux/bpf.h).
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// Whether the verifier takes these instructions as a program at a raw tracepoint; it is gone when this returns.
fn is_accepted(instructions: &[u64]) -> bool {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
    let Ok(insn_cnt) = u32::try_from(instructions.len()) else { return false };
    let load = Load {
        prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
        insn_cnt,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    // SAFETY: the kernel reads `load`, the instructions and the string, all of which outlive the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, std::ptr::from_ref(&load), size_of::<Load>())
    };
    let Ok(fd) = i32::try_from(fd) else { return false };
    if fd < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "kernel functions not accepted");
        return false;
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word is replaced, by the call or by what stands for it, and nothing else changes.
    #[test]
    fn words_are_replaced() {
        let words = [READABLE.word, 7, PREEMPT_DISABLE.word, PREEMPT_ENABLE.word, READABLE.word];
        let object: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let put = |kfuncs: &Kfuncs| -> Vec<u64> {
            let object = kfuncs.put_into(&object);
            object.chunks_exact(8).map(|at| u64::from_le_bytes(at.try_into().unwrap())).collect()
        };
        let all = Kfuncs { readable: Some(5), undivided: Some([6, 8]) };
        assert_eq!(put(&all), [call(5), 7, call(6), call(8), call(5)]);
        let [give_back, go_on] = [READABLE.without, PREEMPT_DISABLE.without];
        assert_eq!(put(&Kfuncs::default()), [give_back, 7, go_on, go_on, give_back]);
    }

    /// The object does call them: a compiler that dropped or changed the words would leave programs without them.
    #[test]
    fn the_object_has_the_words() {
        let object = super::super::load::OBJECT;
        for kfunc in [READABLE, PREEMPT_DISABLE, PREEMPT_ENABLE] {
            let n = object.chunks_exact(8).filter(|at| **at == kfunc.word.to_le_bytes()).count();
            assert!(object.is_empty() || n > 0, "no call of {}", kfunc.name);
        }
    }
}
