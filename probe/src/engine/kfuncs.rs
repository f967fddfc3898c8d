//! The kernel's own functions that the programs call where there are such: found by name, and tried with the
//! verifier.
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
    kfunc::{self, Kfunc, PREEMPT_DISABLE, PREEMPT_ENABLE, READABLE, call},
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
    pub(super) readable: Option<u32>,
    /// The beginning, and the end.
    pub(super) undivided: Option<[u32; 2]>,
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

    /// Each by its name: whether it is called, and what that says.
    pub(super) const fn told(&self) -> [(&'static str, bool, &'static str); 2] {
        [
            if self.readable.is_some() {
                (READABLE.name, true, "kernel memory is read by plain instructions")
            } else {
                (READABLE.name, false, "not accepted (6.17 and later): each read of kernel memory is a call")
            },
            if self.undivided.is_some() {
                (PREEMPT_DISABLE.name, true, "no other task interrupts a program")
            } else {
                (PREEMPT_DISABLE.name, false, "not called: before Linux 7 no other task interrupts a program")
            },
        ]
    }

    /// What is to stand in place of an instruction of the object, where that is one of the words for these functions.
    pub(super) fn in_place_of(&self, instruction: u64) -> Option<u64> {
        let kfunc = kfunc::ALL.into_iter().find(|kfunc| kfunc.word == instruction)?;
        let [begin, end] = self.undivided.map_or([None; 2], |pair| pair.map(Some));
        let number = match kfunc {
            READABLE => self.readable,
            PREEMPT_DISABLE => begin,
            _ => end,
        };
        Some(number.map_or(kfunc.without, call))
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
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, std::ptr::from_ref(&load), size_of::<Load>()) };
    let Ok(fd) = i32::try_from(fd) else { return false };
    if fd < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "kernel functions not accepted");
        return false;
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    true
}
