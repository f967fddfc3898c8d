//! The file room: what the traced tree does to regular files. Fed by `shared/fdio`, which owns the system calls.
//!
//! Every call stands in a histogram of its file's class. Classes come from user space, by the file's name; until one is
//! known, each call goes up on its own, so that nothing is counted under the wrong one. What an open file was used for
//! is summed in a table and goes up when it is closed.

mod calls;
mod marker;
mod names;
mod open;
mod stall;
mod stats;
mod table;

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::ProgramArray,
    programs::RawTracePointContext,
};
use probe_common::{file_io::Op, loss::LossCause};

use crate::shared::{
    emit::lose,
    fdio::{self, Call},
    kern::file,
    regs::nr,
};
use calls::Use;
pub(crate) use calls::closing;
pub(crate) use marker::may_be as may_be_marker;
use names::Names;

/// The programs of this room that others hand on to: of their own, because the verifier would look at them once for each
/// way on which the caller can come here.
#[map]
static FILE_IO_TAILS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Hands a call at its return on to [`file_io_returned`]; comes back only if that is not there.
#[inline(always)]
pub(crate) fn hand_on(ctx: &RawTracePointContext) {
    // SAFETY: the program of that index is of the caller's type, which the kernel checks.
    unsafe { FILE_IO_TAILS.tail_call(ctx, 0) };
    lose(LossCause::ProgramMissing);
}

/// A call that may be about a regular file, at its return: called by `fdio_exit`.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub(crate) fn file_io_returned(ctx: RawTracePointContext) -> i32 {
    fdio::handed_on(&ctx).and_then(|(call, args)| returned(&ctx, &call, args.nr, &args.arg)).unwrap_or(0)
}

/// Whether this call may be about a regular file.
#[inline(always)]
pub(crate) fn is_file_call(number: u64) -> bool {
    matches!(
        number,
        nr::READ
            | nr::WRITE
            | nr::OPEN
            | nr::CLOSE
            | nr::MMAP
            | nr::PREAD64
            | nr::PWRITE64
            | nr::READV
            | nr::WRITEV
            | nr::FSYNC
            | nr::FDATASYNC
            | nr::FTRUNCATE
            | nr::RENAME
            | nr::CREAT
            | nr::LINK
            | nr::UNLINK
            | nr::OPENAT
            | nr::UNLINKAT
            | nr::RENAMEAT
            | nr::LINKAT
            | nr::SYNC_FILE_RANGE
            | nr::FALLOCATE
            | nr::PREADV
            | nr::PWRITEV
            | nr::RENAMEAT2
            | nr::COPY_FILE_RANGE
            | nr::PREADV2
            | nr::PWRITEV2
            | nr::OPENAT2
    )
}

/// What is to be done about a call.
enum Deed {
    Use(u64, Use),
    Name(Op, Names),
}

#[inline(always)]
fn returned(ctx: &RawTracePointContext, call: &Call, number: u64, arg: &[u64; 5]) -> Option<i32> {
    /// include/uapi/linux/fcntl.h
    const AT_FDCWD: u64 = (-100i64).cast_unsigned();
    /// What creat stands for: `O_WRONLY | O_CREAT | O_TRUNC`.
    const CREAT_FLAGS: u32 = 0o1101;
    let on = |op| Deed::Use(call.fd, Use::Call(op));
    let open = |flags| Deed::Use(call.ret.cast_unsigned(), Use::Open(flags));
    let here = |old, new| Names { old, old_dir: AT_FDCWD, new, new_dir: AT_FDCWD };
    // Decided first, handled once: each handler below stands in the program a single time.
    let deed = match number {
        nr::READ | nr::PREAD64 | nr::READV | nr::PREADV | nr::PREADV2 => on(Op::Read),
        nr::WRITE => {
            marker::look(ctx, call, arg[1]);
            on(Op::Write)
        }
        nr::WRITEV => {
            marker::look(ctx, call, marker::first_of(arg[1]));
            on(Op::Write)
        }
        nr::PWRITE64 | nr::PWRITEV | nr::PWRITEV2 | nr::FALLOCATE => on(Op::Write),
        nr::COPY_FILE_RANGE => Deed::Use(arg[2], Use::Call(Op::Write)),
        nr::FSYNC | nr::FDATASYNC | nr::SYNC_FILE_RANGE => on(Op::Sync),
        nr::FTRUNCATE => on(Op::Truncate),
        nr::OPEN => open(arg[1] as u32),
        nr::CREAT => open(CREAT_FLAGS),
        nr::OPENAT => open(arg[2] as u32),
        nr::OPENAT2 => open(file::of_fd(call.ret.cast_unsigned()).and_then(file::open_flags)?),
        nr::MMAP => Deed::Use(arg[4], Use::Map { prot: arg[2], flags: arg[3] }),
        nr::CLOSE => return calls::close(ctx, call),
        nr::RENAME => Deed::Name(Op::Rename, here(arg[0], arg[1])),
        nr::LINK => Deed::Name(Op::Link, here(arg[0], arg[1])),
        nr::UNLINK => Deed::Name(Op::Unlink, here(arg[0], 0)),
        nr::RENAMEAT | nr::RENAMEAT2 => {
            let names = Names { old: arg[1], old_dir: arg[0], new: arg[3], new_dir: arg[2] };
            Deed::Name(Op::Rename, names)
        }
        nr::LINKAT => {
            let names = Names { old: arg[1], old_dir: arg[0], new: arg[3], new_dir: arg[2] };
            Deed::Name(Op::Link, names)
        }
        nr::UNLINKAT => Deed::Name(Op::Unlink, Names { old: arg[1], old_dir: arg[0], new: 0, new_dir: 0 }),
        _ => return None,
    };
    match deed {
        Deed::Use(fd, how) => calls::used(ctx, call, fd, how),
        Deed::Name(op, names) => names::change(ctx, call, op, &names),
    }
}
