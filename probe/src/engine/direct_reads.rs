//! The kernel's own function by which the programs read its memory, where it has one: found by name, and tried with the
//! verifier. It changes what a run costs, never what is seen.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use btf_rs::Btf;
use nix::libc;
use probe_common::{
    kfunc::{GIVE_BACK, READABLE, call},
    rungs::Missing,
};

/// `r1 = 0`, `r2 = 0`, `r0 = 0`, `exit`.
const R1_IS_0: u64 = 0x01b7;
const R2_IS_0: u64 = 0x02b7;
const R0_IS_0: u64 = 0x00b7;
const EXIT: u64 = 0x95;
/// `r1 = *(u64 *)(r0 + 0)`.
const READ: u64 = 0x0179;

/// The number that this kernel calls [`READABLE`] by; none where it has none, or refuses what the programs do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectReads(pub(super) Option<u32>);

impl DirectReads {
    /// Asks the kernel, unless its name is in `without`.
    pub(super) fn find(btf: &Btf, without: &[String]) -> Self {
        if without.iter().any(|name| name == READABLE) {
            return Self(None);
        }
        let number = btf.resolve_ids_by_name(READABLE).ok().and_then(|ids| ids.first().copied());
        Self(number.filter(|number| is_accepted(&[R1_IS_0, R2_IS_0, call(*number), READ, R0_IS_0, EXIT])))
    }

    /// What the programs must do without.
    pub(super) const fn missing(self) -> Missing {
        if self.0.is_some() { Missing::NOTHING } else { Missing::DIRECT_READS }
    }

    /// The instruction in place of the word for it.
    pub(super) const fn instruction(self) -> u64 {
        match self.0 {
            Some(number) => call(number),
            None => GIVE_BACK,
        }
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
