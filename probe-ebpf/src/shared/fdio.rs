//! Owner of `sys_enter` and `sys_exit`: picks the calls that move bytes, and hands them to their room.
//!
//! At the return of a call the registers still hold its arguments, so one program sees number, arguments
//! and result; the entry only leaves its time stamp.

use aya_ebpf::{
    EbpfContext as _, helpers::bpf_ktime_get_ns, macros::raw_tracepoint, programs::RawTracePointContext,
};
use probe_common::{
    loss::LossCause,
    process::{NR_UNKNOWN, Thread},
    rooms::Rooms,
    rungs::Missing,
};

use crate::{
    process,
    shared::{
        emit::lose,
        regs::{self, Args, nr},
        rooms::is_on,
        rungs::is_missing,
    },
    socket,
};

/// A call of a traced thread at its return.
pub(crate) struct Call {
    /// The thread's state; see [`process::traced`].
    pub(crate) thread: *mut Thread,
    /// File descriptor: the first argument of every call here.
    pub(crate) fd: u64,
    /// The return value.
    pub(crate) ret: i64,
    /// Entry, nanoseconds; 0 when it was not seen.
    pub(crate) enter_ns: u64,
    /// Now, nanoseconds.
    pub(crate) ts_ns: u64,
}

/// Where a call's bytes lie in the application's memory.
#[derive(Clone, Copy)]
pub(crate) enum Buffer {
    /// One range that starts here.
    Flat(u64),
    /// An array of `struct iovec`: address and number of entries.
    Iovecs(u64, u64),
    /// A `struct msghdr`.
    Message(u64),
    /// In no memory of the application (sendfile).
    Elsewhere,
}

/// Which way a call moves bytes, seen from the application.
#[derive(Clone, Copy)]
enum Moves {
    In,
    Out,
}

/// Whether any room that is on wants this call.
#[inline(always)]
fn is_watched(number: u64) -> bool {
    is_on(Rooms::SOCKET) && is_socket_call(number)
}

#[inline(always)]
fn is_socket_call(number: u64) -> bool {
    matches!(
        number,
        nr::READ
            | nr::WRITE
            | nr::READV
            | nr::WRITEV
            | nr::SENDFILE
            | nr::ACCEPT
            | nr::SENDTO
            | nr::RECVFROM
            | nr::SENDMSG
            | nr::RECVMSG
            | nr::ACCEPT4
    )
}

/// `raw_syscalls:sys_enter(regs, nr)`.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub(crate) fn fdio_enter(ctx: RawTracePointContext) -> i32 {
    let number: u64 = ctx.arg(1);
    if !is_watched(number) {
        return 0;
    }
    if let Some(thread) = process::traced(ctx.pid()) {
        // SAFETY: a valid map value that only this thread writes while it is in the kernel.
        let thread = unsafe { &mut *thread };
        thread.nr = number as u32 + 1;
        thread.sock = 0;
        thread.arrival_ns = 0;
        thread.acked_ns = 0;
        // SAFETY: a helper without arguments.
        thread.enter_ns = unsafe { bpf_ktime_get_ns() };
    }
    0
}

/// `raw_syscalls:sys_exit(regs, ret)`.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub(crate) fn fdio_exit(ctx: RawTracePointContext) -> i32 {
    let result = try_exit(&ctx).unwrap_or(0);
    if is_missing(Missing::ENTRY)
        && let Some(thread) = process::traced(ctx.pid())
    {
        // Else what TCP told of this call would pass for the next one's.
        // SAFETY: as in `fdio_enter`.
        unsafe {
            ((*thread).sock, (*thread).arrival_ns, (*thread).acked_ns) = (0, 0, 0);
        }
    }
    result
}

#[inline(always)]
fn try_exit(ctx: &RawTracePointContext) -> Option<i32> {
    let thread = process::traced(ctx.pid())?;
    // SAFETY: as in `fdio_enter`; the borrow ends before the rooms get the pointer.
    let (number, enter_ns) = unsafe { ((*thread).nr, (*thread).enter_ns) };
    if number == 0 && !is_missing(Missing::ENTRY) {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*thread).nr = 0 };
    let Some(Args { nr: number_now, arg }) = regs::args(ctx.arg(0)) else {
        lose(LossCause::KernelReadFault);
        return None;
    };
    let seen = number != 0 && number != NR_UNKNOWN && u64::from(number) == number_now + 1;
    let call = Call {
        thread,
        fd: arg[0],
        ret: ctx.arg(1),
        enter_ns: if seen { enter_ns } else { 0 },
        // SAFETY: a helper without arguments.
        ts_ns: unsafe { bpf_ktime_get_ns() },
    };
    // Decided first, handled once: each handler below stands in the program a single time.
    let (moves, buffer, flags) = match number_now {
        nr::READ => (Moves::In, Buffer::Flat(arg[1]), 0),
        nr::RECVFROM => (Moves::In, Buffer::Flat(arg[1]), arg[3]),
        nr::READV => (Moves::In, Buffer::Iovecs(arg[1], arg[2]), 0),
        nr::RECVMSG => (Moves::In, Buffer::Message(arg[1]), arg[2]),
        nr::WRITE => (Moves::Out, Buffer::Flat(arg[1]), 0),
        nr::SENDTO => (Moves::Out, Buffer::Flat(arg[1]), arg[3]),
        nr::WRITEV => (Moves::Out, Buffer::Iovecs(arg[1], arg[2]), 0),
        nr::SENDMSG => (Moves::Out, Buffer::Message(arg[1]), arg[2]),
        nr::SENDFILE => (Moves::Out, Buffer::Elsewhere, 0),
        nr::ACCEPT | nr::ACCEPT4 => return socket::accept(ctx, &call),
        _ => return None,
    };
    match moves {
        Moves::In => socket::recv(ctx, &call, buffer, flags),
        Moves::Out => socket::send(ctx, &call, buffer, flags),
    }
}
