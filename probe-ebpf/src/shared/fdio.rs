//! Owner of `sys_enter` and `sys_exit`: picks the calls that move bytes, and hands them to their room.
//!
//! At the return of a call the registers still hold its arguments, so one program sees number, arguments
//! and result; the entry only leaves its time stamp.

use aya_ebpf::{
    EbpfContext as _, helpers::bpf_ktime_get_ns, macros::raw_tracepoint, programs::RawTracePointContext,
};
use probe_common::{
    hist::{Durations, bucket_of},
    loss::LossCause,
    process::{NR_UNKNOWN, Thread},
    rooms::Rooms,
    rungs::Missing,
};

use crate::{
    file_io, process,
    shared::{
        bounds::opaque,
        emit::lose,
        kern::{self, file::Kind},
        regs::{self, Args, nr},
        rooms::is_on,
        rungs::is_missing,
        tracepoint,
    },
    socket, sqlite,
};

/// A call of a traced thread at its return.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// The thread's state; see [`process::traced`].
    pub(crate) thread: *mut Thread,
    /// Its number.
    pub(crate) nr: u64,
    /// File descriptor: the first argument of every call here.
    pub(crate) fd: u64,
    /// The return value.
    pub(crate) ret: i64,
    /// Entry, nanoseconds; 0 when it was not seen.
    pub(crate) enter_ns: u64,
    /// Now, nanoseconds.
    pub(crate) ts_ns: u64,
}

impl Call {
    /// Time from entry to now, nanoseconds; 0 when the entry was not seen.
    #[inline(always)]
    pub(crate) fn took_ns(&self) -> u64 {
        if self.enter_ns == 0 || self.ts_ns < self.enter_ns { 0 } else { self.ts_ns - self.enter_ns }
    }

    /// Takes this call's duration in, if its entry was seen and no clock went back.
    #[inline(always)]
    pub(crate) fn record_in(&self, durations: &mut Durations) {
        if self.enter_ns != 0 && self.ts_ns >= self.enter_ns {
            let took = self.ts_ns - self.enter_ns;
            durations.record(took, opaque(bucket_of(took)));
        }
    }

    /// Adds this call to the thread's time in calls on files.
    #[inline(always)]
    pub(crate) fn add_io(&self) {
        // SAFETY: a valid map value that only this thread writes while it is in the kernel.
        unsafe { (*self.thread).io_ns += self.took_ns() };
    }

    /// The thread's time in calls on files so far, nanoseconds.
    #[inline(always)]
    pub(crate) fn io_ns(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.thread).io_ns }
    }
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
    /// In no memory of the application (sendfile, splice).
    Elsewhere,
    /// An array of `struct mmsghdr`, which begins with a message: its bytes are not followed.
    Messages(u64),
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
        || is_on(Rooms::FILE_IO) && file_io::is_file_call(number)
        || is_on(Rooms::SQLITE) && (is_sleep(number) || sqlite::is_checkpoint_call(number))
        || is_on(Rooms::SQLITE_STATEMENTS) && number == nr::FUTEX
}

#[inline(always)]
fn is_sleep(number: u64) -> bool {
    matches!(number, nr::NANOSLEEP | nr::CLOCK_NANOSLEEP)
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
            | nr::SPLICE
            | nr::RECVMMSG
            | nr::SENDMMSG
            | nr::LISTEN
    )
}

/// `raw_syscalls:sys_enter(regs, nr)`.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub(crate) fn fdio_enter(ctx: RawTracePointContext) -> i32 {
    let number = tracepoint::number(&ctx);
    if number == nr::CLOSE && is_on(Rooms::SOCKET) {
        // At its return the descriptor is gone.
        let _ = socket::closing(&ctx);
    }
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
        if is_on(Rooms::FILE_IO) && number == nr::CLOSE {
            thread.closing =
                regs::args(tracepoint::registers(&ctx)).map_or(0, |args| file_io::closing(args.arg[0]));
        }
        // SAFETY: a helper without arguments.
        thread.enter_ns = unsafe { bpf_ktime_get_ns() };
    }
    0
}

/// `raw_syscalls:sys_exit(regs, ret)`.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub(crate) fn fdio_exit(ctx: RawTracePointContext) -> i32 {
    let way = try_exit(&ctx);
    if is_missing(Missing::ENTRY)
        && let Some(thread) = process::traced(ctx.pid())
    {
        // Else what TCP told of this call would pass for the next one's.
        // SAFETY: as in `fdio_enter`.
        unsafe {
            ((*thread).sock, (*thread).arrival_ns, (*thread).acked_ns) = (0, 0, 0);
        }
    }
    if way == Some(Way::File) {
        file_io::hand_on(&ctx);
    }
    0
}

/// Which room a call goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Nowhere,
    Socket,
    File,
}

/// The room that a call is for, by what its descriptor is: decided once, because the verifier looks at what comes behind
/// once for each way on which it can come there.
#[inline(always)]
fn way_of(call: &Call) -> Way {
    let file = || if is_on(Rooms::FILE_IO) { Way::File } else { Way::Nowhere };
    let socket = || if is_on(Rooms::SOCKET) { Way::Socket } else { Way::Nowhere };
    match call.nr {
        // TCP has said which of its sockets was read.
        // SAFETY: as in `fdio_enter`.
        nr::READ | nr::READV if unsafe { (*call.thread).sock } != 0 => socket(),
        nr::READ | nr::READV | nr::WRITE | nr::WRITEV => match kern::file::kind_of_fd(call.fd) {
            Some(Kind::Regular) => file(),
            Some(Kind::Socket) => socket(),
            // A marker can be written to anything.
            Some(Kind::Other)
                if matches!(call.nr, nr::WRITE | nr::WRITEV) && file_io::may_be_marker(call) =>
            {
                file()
            }
            _ => Way::Nowhere,
        },
        number if is_socket_call(number) => socket(),
        // SAFETY: as above.
        nr::CLOSE if unsafe { (*call.thread).closing } == 0 => Way::Nowhere,
        number if file_io::is_file_call(number) => file(),
        _ => Way::Nowhere,
    }
}

#[inline(always)]
fn try_exit(ctx: &RawTracePointContext) -> Option<Way> {
    // Where it costs next to nothing, what nobody asks for is not even looked up.
    if !is_missing(Missing::DIRECT_READS) && !is_watched(regs::number(tracepoint::registers(ctx))?) {
        return None;
    }
    let thread = process::traced(ctx.pid())?;
    // SAFETY: as in `fdio_enter`; the borrow ends before the rooms get the pointer.
    let (number, enter_ns) = unsafe { ((*thread).nr, (*thread).enter_ns) };
    if number == 0 && !is_missing(Missing::ENTRY) {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*thread).nr = 0 };
    let Some(Args { nr: number_now, arg }) = regs::args(tracepoint::registers(ctx)) else {
        lose(LossCause::KernelReadFault);
        return None;
    };
    let seen = number != 0 && number != NR_UNKNOWN && u64::from(number) == number_now + 1;
    let call = Call {
        thread,
        nr: number_now,
        fd: arg[0],
        ret: tracepoint::result(ctx),
        enter_ns: if seen { enter_ns } else { 0 },
        // SAFETY: a helper without arguments.
        ts_ns: unsafe { bpf_ktime_get_ns() },
    };
    if number_now == nr::FUTEX {
        if is_on(Rooms::SQLITE_STATEMENTS) {
            sqlite::futex(ctx, &call, arg[1]);
        }
        return None;
    }
    if is_sleep(number_now) {
        if is_on(Rooms::SQLITE) {
            sqlite::sleep(ctx, &call, number_now, &arg);
        }
        return None;
    }
    if is_on(Rooms::SQLITE) && sqlite::is_checkpoint_call(number_now) {
        sqlite::wrote(ctx.pid(), &call);
    }
    let way = way_of(&call);
    if way == Way::Socket {
        socket_call(ctx, &call, number_now, &arg);
    } else {
        // For whom it is handed on to.
        // SAFETY: as above.
        unsafe { (*thread).enter_ns = call.enter_ns };
    }
    Some(way)
}

/// The call that a program which was handed on to is about.
#[inline(always)]
pub(crate) fn handed_on(ctx: &RawTracePointContext) -> Option<(Call, Args)> {
    let thread = process::traced(ctx.pid())?;
    let args = regs::args(tracepoint::registers(ctx))?;
    let call = Call {
        thread,
        nr: args.nr,
        fd: args.arg[0],
        ret: tracepoint::result(ctx),
        // SAFETY: as in `fdio_enter`.
        enter_ns: unsafe { (*thread).enter_ns },
        // SAFETY: a helper without arguments.
        ts_ns: unsafe { bpf_ktime_get_ns() },
    };
    Some((call, args))
}

/// Hands a call to the socket room.
#[inline(always)]
fn socket_call(ctx: &RawTracePointContext, call: &Call, number: u64, arg: &[u64; 5]) {
    let mut call = *call;
    // Decided first, handled once: each handler below stands in the program a single time.
    let (moves, buffer, flags) = match number {
        nr::READ => (Moves::In, Buffer::Flat(arg[1]), 0),
        nr::RECVFROM => (Moves::In, Buffer::Flat(arg[1]), arg[3]),
        nr::READV => (Moves::In, Buffer::Iovecs(arg[1], arg[2]), 0),
        nr::RECVMSG => (Moves::In, Buffer::Message(arg[1]), arg[2]),
        nr::WRITE => (Moves::Out, Buffer::Flat(arg[1]), 0),
        nr::SENDTO => (Moves::Out, Buffer::Flat(arg[1]), arg[3]),
        nr::WRITEV => (Moves::Out, Buffer::Iovecs(arg[1], arg[2]), 0),
        nr::SENDMSG => (Moves::Out, Buffer::Message(arg[1]), arg[2]),
        nr::SENDFILE => (Moves::Out, Buffer::Elsewhere, 0),
        nr::RECVMMSG => (Moves::In, Buffer::Messages(arg[1]), arg[3]),
        nr::SENDMMSG => (Moves::Out, Buffer::Messages(arg[1]), arg[3]),
        // One of its ends is a pipe. TCP names the socket that it reads from.
        // SAFETY: as in `fdio_enter`.
        nr::SPLICE if unsafe { (*call.thread).sock } != 0 => (Moves::In, Buffer::Elsewhere, 0),
        nr::SPLICE => {
            call.fd = arg[2];
            (Moves::Out, Buffer::Elsewhere, 0)
        }
        nr::LISTEN => {
            socket::listen(&call);
            return;
        }
        _ => {
            socket::accept(ctx, &call);
            return;
        }
    };
    let mut sk = 0;
    let begun = match moves {
        Moves::In => socket::recv(ctx, &call, buffer, flags),
        Moves::Out => kern::sock_of_fd(call.fd).and_then(|sock| {
            sk = sock.sk;
            socket::send(ctx, &call, sock, buffer, flags)
        }),
    };
    if begun.is_some() && socket::emit(buffer) {
        socket::upgraded(sk);
    }
}
