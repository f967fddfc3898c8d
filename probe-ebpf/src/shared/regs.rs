//! System-call arguments and numbers: the only file that depends on the processor.

use super::kern::read;

/// Arguments of a system call, as they still stand in the registers when it returns.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    /// The system call's number.
    pub(crate) nr: u64,
    /// Its first five arguments.
    pub(crate) arg: [u64; 5],
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
    let w: Window = read(pt_regs + WINDOW_OFFSET)?;
    Some(Args { nr: w.orig_ax, arg: [w.di, w.si, w.dx, w.r10, w.r8] })
}

/// Offset of the call's number in the same struct: `orig_ax`.
#[cfg(bpf_target_arch = "x86_64")]
const NUMBER_OFFSET: u64 = 120;
/// Behind `orig_x0`.
#[cfg(bpf_target_arch = "aarch64")]
const NUMBER_OFFSET: u64 = ORIG_X0_OFFSET + 8;

/// The number of a system call alone.
#[inline(always)]
pub(crate) fn number(pt_regs: u64) -> Option<u64> {
    read::<i32>(pt_regs + NUMBER_OFFSET).map(|number| u64::from(number.cast_unsigned()))
}

/// Offset of `sp` in the same struct.
#[cfg(bpf_target_arch = "x86_64")]
const SP_OFFSET: u64 = 152;
/// Behind the 31 registers of the same struct.
#[cfg(bpf_target_arch = "aarch64")]
const SP_OFFSET: u64 = 31 * 8;

/// Bytes by which the stack pointer is higher when a function has returned than at its first instruction.
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) const RETURN_ADDRESS: u64 = 8;
/// The return address is in a register.
#[cfg(bpf_target_arch = "aarch64")]
pub(crate) const RETURN_ADDRESS: u64 = 0;

/// The application's stack pointer, at a system call or at a probe on one of its functions.
#[inline(always)]
pub(crate) fn user_stack(pt_regs: u64) -> Option<u64> {
    read(pt_regs + SP_OFFSET)
}

/// System-call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) mod nr {
    pub(crate) const READ: u64 = 0;
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const OPEN: u64 = 2;
    pub(crate) const CLOSE: u64 = 3;
    pub(crate) const MMAP: u64 = 9;
    pub(crate) const PREAD64: u64 = 17;
    pub(crate) const PWRITE64: u64 = 18;
    pub(crate) const READV: u64 = 19;
    pub(crate) const WRITEV: u64 = 20;
    pub(crate) const NANOSLEEP: u64 = 35;
    pub(crate) const SENDFILE: u64 = 40;
    pub(crate) const ACCEPT: u64 = 43;
    pub(crate) const SENDTO: u64 = 44;
    pub(crate) const RECVFROM: u64 = 45;
    pub(crate) const SENDMSG: u64 = 46;
    pub(crate) const RECVMSG: u64 = 47;
    pub(crate) const LISTEN: u64 = 50;
    pub(crate) const FSYNC: u64 = 74;
    pub(crate) const FDATASYNC: u64 = 75;
    pub(crate) const FTRUNCATE: u64 = 77;
    pub(crate) const RENAME: u64 = 82;
    pub(crate) const CREAT: u64 = 85;
    pub(crate) const LINK: u64 = 86;
    pub(crate) const UNLINK: u64 = 87;
    pub(crate) const FUTEX: u64 = 202;
    pub(crate) const CLOCK_NANOSLEEP: u64 = 230;
    pub(crate) const OPENAT: u64 = 257;
    pub(crate) const UNLINKAT: u64 = 263;
    pub(crate) const RENAMEAT: u64 = 264;
    pub(crate) const LINKAT: u64 = 265;
    pub(crate) const SPLICE: u64 = 275;
    pub(crate) const SYNC_FILE_RANGE: u64 = 277;
    pub(crate) const FALLOCATE: u64 = 285;
    pub(crate) const ACCEPT4: u64 = 288;
    pub(crate) const PREADV: u64 = 295;
    pub(crate) const PWRITEV: u64 = 296;
    pub(crate) const RECVMMSG: u64 = 299;
    pub(crate) const SENDMMSG: u64 = 307;
    pub(crate) const RENAMEAT2: u64 = 316;
    pub(crate) const COPY_FILE_RANGE: u64 = 326;
    pub(crate) const PREADV2: u64 = 327;
    pub(crate) const PWRITEV2: u64 = 328;
    pub(crate) const OPENAT2: u64 = 437;
}

/// `user_pt_regs` begins with x0 … x30; behind it stand the first argument as it was, since x0 holds the result by now,
/// and the number (arch/arm64/include/asm/ptrace.h).
#[cfg(bpf_target_arch = "aarch64")]
const X1_OFFSET: u64 = 8;
#[cfg(bpf_target_arch = "aarch64")]
const ORIG_X0_OFFSET: u64 = 34 * 8;

/// Reads the arguments from `struct pt_regs *`.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn args(pt_regs: u64) -> Option<Args> {
    let rest: [u64; 4] = read(pt_regs + X1_OFFSET)?;
    let origin: (u64, i32) = read(pt_regs + ORIG_X0_OFFSET)?;
    Some(Args {
        nr: u64::from(origin.1.cast_unsigned()),
        arg: [origin.0, rest[0], rest[1], rest[2], rest[3]],
    })
}

/// System-call numbers (include/uapi/asm-generic/unistd.h).
#[cfg(bpf_target_arch = "aarch64")]
pub(crate) mod nr {
    pub(crate) const UNLINKAT: u64 = 35;
    pub(crate) const LINKAT: u64 = 37;
    pub(crate) const RENAMEAT: u64 = 38;
    pub(crate) const FTRUNCATE: u64 = 46;
    pub(crate) const FALLOCATE: u64 = 47;
    pub(crate) const OPENAT: u64 = 56;
    pub(crate) const SPLICE: u64 = 76;
    pub(crate) const LISTEN: u64 = 201;
    pub(crate) const RECVMMSG: u64 = 243;
    pub(crate) const SENDMMSG: u64 = 269;
    pub(crate) const CLOSE: u64 = 57;
    pub(crate) const READ: u64 = 63;
    pub(crate) const WRITE: u64 = 64;
    pub(crate) const READV: u64 = 65;
    pub(crate) const WRITEV: u64 = 66;
    pub(crate) const PREAD64: u64 = 67;
    pub(crate) const PWRITE64: u64 = 68;
    pub(crate) const PREADV: u64 = 69;
    pub(crate) const PWRITEV: u64 = 70;
    pub(crate) const SENDFILE: u64 = 71;
    pub(crate) const FSYNC: u64 = 82;
    pub(crate) const FDATASYNC: u64 = 83;
    pub(crate) const SYNC_FILE_RANGE: u64 = 84;
    pub(crate) const FUTEX: u64 = 98;
    pub(crate) const NANOSLEEP: u64 = 101;
    pub(crate) const CLOCK_NANOSLEEP: u64 = 115;
    pub(crate) const ACCEPT: u64 = 202;
    pub(crate) const SENDTO: u64 = 206;
    pub(crate) const RECVFROM: u64 = 207;
    pub(crate) const SENDMSG: u64 = 211;
    pub(crate) const RECVMSG: u64 = 212;
    pub(crate) const MMAP: u64 = 222;
    pub(crate) const ACCEPT4: u64 = 242;
    pub(crate) const RENAMEAT2: u64 = 276;
    pub(crate) const COPY_FILE_RANGE: u64 = 285;
    pub(crate) const PREADV2: u64 = 286;
    pub(crate) const PWRITEV2: u64 = 287;
    pub(crate) const OPENAT2: u64 = 437;
    // Calls that this processor never had: numbers that no call bears.
    pub(crate) const OPEN: u64 = u64::MAX - 0;
    pub(crate) const CREAT: u64 = u64::MAX - 1;
    pub(crate) const RENAME: u64 = u64::MAX - 2;
    pub(crate) const LINK: u64 = u64::MAX - 3;
    pub(crate) const UNLINK: u64 = u64::MAX - 4;
}
