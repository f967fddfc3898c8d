//! Programs that do nothing, on the two hooks that every system call passes: the least that any tracer of calls costs.

use std::{
    ffi::CStr,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

/// Attached as long as it lives.
pub(crate) struct Empty {
    _held: Vec<OwnedFd>,
}

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
/// `r0 = 0; exit`.
const NOTHING: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];

/// The part of `union bpf_attr` that loads a program.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// The part that attaches one.
#[repr(C)]
struct Open {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

impl Empty {
    pub(crate) fn attach() -> Result<Self> {
        let mut held = Vec::new();
        for hook in [c"sys_enter", c"sys_exit"] {
            let program = load().context("failed to load an empty program")?;
            let link = open(hook, &program).with_context(|| format!("failed to attach to {hook:?}"))?;
            held.extend([program, link]);
        }
        Ok(Self { _held: held })
    }
}

fn load() -> io::Result<OwnedFd> {
    bpf(
        BPF_PROG_LOAD,
        &Load {
            prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            insn_cnt: 2,
            insns: NOTHING.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
        },
    )
}

fn open(hook: &CStr, program: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let prog_fd = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
    bpf(BPF_RAW_TRACEPOINT_OPEN, &Open { name: hook.as_ptr() as u64, prog_fd, pad: 0 })
}

/// bpf(2), for commands that give a descriptor.
fn bpf<T>(command: libc::c_long, attribute: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attribute`, and the memory that its fields point at lives for
    // the call: `NOTHING` and the strings are static.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attribute), size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
