//! What a program at a tracepoint is given, in words of eight bytes: by a raw one its arguments, by one of perf's the
//! record that it would write (include/trace/events/), whose fields user space has looked up.

use core::arch::asm;

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    programs::RawTracePointContext,
};
use probe_common::rungs::Missing;

use super::{
    constants::constant,
    kern::{file, read},
    rungs::is_missing,
};

/// The application's `struct pt_regs *` in a program at `sys_enter` or `sys_exit`.
#[inline(always)]
pub(crate) fn registers(ctx: &RawTracePointContext) -> u64 {
    if is_missing(Missing::RAW) {
        // SAFETY: helpers; the second takes what the first gives.
        unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()).cast_unsigned() }
    } else {
        word::<0>(ctx)
    }
}

/// The number of the call, in a program at `sys_enter`.
#[inline(always)]
pub(crate) fn number(ctx: &RawTracePointContext) -> u64 {
    word::<8>(ctx)
}

/// What the call gives, in a program at `sys_exit`.
#[inline(always)]
pub(crate) fn result(ctx: &RawTracePointContext) -> i64 {
    let result = if is_missing(Missing::RAW) { word::<16>(ctx) } else { word::<8>(ctx) };
    result.cast_signed()
}

/// The `struct sock *`, in a program at `tcp_rcv_space_adjust`.
#[inline(always)]
pub(crate) fn sock(ctx: &RawTracePointContext) -> Option<u64> {
    if is_missing(Missing::RAW) { field(ctx, constant!(kern.record_sock)) } else { Some(word::<0>(ctx)) }
}

/// The `struct inode *`, in a program at `posix_lock_inode` whose lock is of this `struct file *`.
#[inline(always)]
pub(crate) fn lock_inode(ctx: &RawTracePointContext, file: u64) -> Option<u64> {
    if is_missing(Missing::RAW) { file::inode(file) } else { Some(word::<0>(ctx)) }
}

/// The `struct file_lock *`, in a program at `posix_lock_inode`.
#[inline(always)]
pub(crate) fn file_lock(ctx: &RawTracePointContext) -> Option<u64> {
    if is_missing(Missing::RAW) { field(ctx, constant!(kern.record_lock)) } else { Some(word::<8>(ctx)) }
}

/// What the attempt came to, in a program at `posix_lock_inode`.
#[inline(always)]
pub(crate) fn lock_result(ctx: &RawTracePointContext) -> Option<i32> {
    if is_missing(Missing::RAW) {
        field(ctx, constant!(kern.record_lock_result))
    } else {
        Some(word::<16>(ctx) as i32)
    }
}

/// The id that the thread had before, in a program at `sched_process_exec`.
#[inline(always)]
pub(crate) fn old_tid(ctx: &RawTracePointContext) -> Option<u32> {
    if is_missing(Missing::RAW) {
        field(ctx, constant!(kern.record_old_tid))
    } else {
        Some(word::<8>(ctx) as u32)
    }
}

/// A field of a record. The verifier of 6.18 lets programs read it at fixed places alone; it is kernel memory like any.
#[inline(always)]
fn field<T: Copy>(ctx: &RawTracePointContext, offset: u64) -> Option<T> {
    read(ctx.as_ptr() as u64 + offset)
}

/// The word at an offset, in one instruction: the compiler would choose the address first and load once for both kinds.
#[inline(always)]
fn word<const OFFSET: i16>(ctx: &RawTracePointContext) -> u64 {
    let word;
    // SAFETY: both kinds of tracepoints give at least the words that are asked of them above.
    unsafe {
        asm!(
            "{word} = *(u64 *)({ctx} + {offset})",
            word = out(reg) word,
            ctx = in(reg) ctx.as_ptr(),
            offset = const OFFSET,
            options(pure, readonly, nostack),
        );
    }
    word
}
