//! System-call arguments and numbers: the only file that depends on the processor.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Arguments of a system call, as they still stand in the registers when it returns.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    /// The system call's number.
    pub(crate) nr: u64,
    /// Its first four arguments.
    pub(crate) arg: [u64; 4],
}

/// `r10 … orig_ax` of x86-64's `struct pt_regs` (arch/x86/include/asm/ptrace.h; ABI, unchanged since 2.6).
#[cfg(bpf_target_arch = "x86_64")]
#[repr(C)]
#[derive(Clone, Copy)]
struct Window {
    r10: u64,
    r9: u64,
    r8: u64,
    ax: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
const WINDOW_OFFSET: u64 = 56;

/// Reads the arguments from `struct pt_regs *`.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn args(pt_regs: u64) -> Option<Args> {
    let window = (pt_regs + WINDOW_OFFSET) as *const Window;
    // SAFETY: the helper checks the address and fails instead of faulting.
    let w = unsafe { bpf_probe_read_kernel(window) }.ok()?;
    Some(Args { nr: w.orig_ax, arg: [w.di, w.si, w.dx, w.r10] })
}

/// System-call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) mod nr {
    pub(crate) const READ: u64 = 0;
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const READV: u64 = 19;
    pub(crate) const WRITEV: u64 = 20;
    pub(crate) const SENDFILE: u64 = 40;
    pub(crate) const ACCEPT: u64 = 43;
    pub(crate) const SENDTO: u64 = 44;
    pub(crate) const RECVFROM: u64 = 45;
    pub(crate) const SENDMSG: u64 = 46;
    pub(crate) const RECVMSG: u64 = 47;
    pub(crate) const ACCEPT4: u64 = 288;
}
