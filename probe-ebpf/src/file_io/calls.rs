//! Calls on open files: what they moved, how long they took, and the close that tells it all.

use aya_ebpf::{EbpfContext as _, programs::RawTracePointContext};
use probe_common::{
    file_io::{CallRaw, Class, CloseRaw, FILE_MAPPED, FILE_TOLD, O_ACCMODE, Op, OpenFile, SLOW_CALL_NS},
    header::Kind,
};

use super::{open, stall, stats, table};
use crate::{
    process,
    shared::{emit::emit, fdio::Call, kern::file},
};

/// What a call does to a file.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// It returned a new descriptor; the flags of the call, where they are known.
    Open(u32),
    /// It moved bytes, synced or truncated.
    Call(Op),
    /// mmap.
    Map { prot: u64, flags: u64 },
}

/// A call on a file that is or was made open, at its return. Each of the handlers below stands in the program once.
#[inline(always)]
pub(super) fn used(ctx: &RawTracePointContext, call: &Call, fd: u64, how: Use) -> Option<i32> {
    let opened = match how {
        Use::Open(_) if call.ret < 0 => {
            // Nothing tells what it would have been.
            stats::count(call, Class::Other as u32, Op::Open, 0);
            return None;
        }
        Use::Open(flags) => Some(flags),
        Use::Map { prot, flags } if !is_shared_write(prot, flags) => return None,
        _ => None,
    };
    let entry = open::entry(ctx, call, file::of_fd(fd)?, opened)?;
    call.add_io();
    // SAFETY: a valid map value; threads that use one file at the same moment may lose each other's counts, never more.
    let open = unsafe { &mut *entry };
    let op = match how {
        Use::Open(_) => Op::Open,
        Use::Call(op) => op,
        Use::Map { .. } => {
            open.flags |= FILE_MAPPED;
            return Some(0);
        }
    };
    let took = call.took_ns();
    let bytes = if call.ret > 0 && matches!(op, Op::Read | Op::Write) { call.ret.cast_unsigned() } else { 0 };
    match op {
        Op::Open => {}
        Op::Read => {
            open.reads += 1;
            open.read_ns += took;
            open.read_bytes += bytes;
        }
        Op::Sync => {
            open.syncs += 1;
            open.sync_ns += took;
        }
        _ => {
            stall::returned(call);
            open.writes += 1;
            open.write_ns += took;
            open.write_bytes += bytes;
            open.flags &= !FILE_TOLD;
            open.pid = ctx.tgid();
        }
    }
    if call.ret < 0 {
        open.errors += 1;
        open.errno = call.ret.unsigned_abs() as u32;
    }
    let is_known = open.class != Class::Unknown as u32;
    if is_known {
        stats::count(call, open.class, op, bytes);
    }
    // The record of an open says all of its call.
    if !is_known && !matches!(op, Op::Open) || took >= SLOW_CALL_NS {
        emit(&CallRaw {
            header: process::header(ctx, Kind::FileCall, call.ts_ns),
            enter_ns: call.enter_ns,
            id: open.id,
            ret: call.ret.cast_unsigned(),
            op: op as u32,
            class: open.class,
        });
    }
    Some(0)
}

/// A mapping through which the file itself can be written.
const fn is_shared_write(prot: u64, flags: u64) -> bool {
    /// include/uapi/asm-generic/mman-common.h, include/uapi/linux/mman.h
    const PROT_WRITE: u64 = 2;
    const MAP_TYPE: u64 = 0x0f;
    const MAP_PRIVATE: u64 = 2;
    prot & PROT_WRITE != 0 && flags & MAP_TYPE != MAP_PRIVATE
}

/// What a close is about to close, at its entry: at its return the descriptor says nothing any more.
#[inline(always)]
pub(crate) fn closing(fd: u64) -> u64 {
    let Some(key) = file::of_fd(fd) else { return 0 };
    let Some(inode) = file::inode(key) else { return 0 };
    if table::get(key, inode).is_some() { key } else { 0 }
}

/// close, at its return: tells what the file was used for if this process opened or wrote it.
#[inline(always)]
pub(super) fn close(ctx: &RawTracePointContext, call: &Call) -> Option<i32> {
    // SAFETY: a valid map value that only this thread writes while it is in the kernel.
    let key = unsafe { (*call.thread).closing };
    if key == 0 {
        return None;
    }
    let entry = table::closed(key)?;
    call.add_io();
    // SAFETY: as in `call`.
    let open = unsafe { &mut *entry };
    if open.class == Class::Unknown as u32 {
        open.class = table::class_of(&open.file);
    }
    if open.class == Class::Unknown as u32 {
        emit(&CallRaw {
            header: process::header(ctx, Kind::FileCall, call.ts_ns),
            enter_ns: call.enter_ns,
            id: open.id,
            ret: call.ret.cast_unsigned(),
            op: Op::Close as u32,
            class: open.class,
        });
    } else {
        stats::count(call, open.class, Op::Close, 0);
    }
    // Not a child that only rids itself of what it inherited.
    if is_worth_telling(open) && (open.pid == ctx.tgid() || open.opener == ctx.tgid()) {
        open.flags |= FILE_TOLD;
        emit(&CloseRaw {
            header: process::header(ctx, Kind::FileClose, call.ts_ns),
            enter_ns: call.enter_ns,
            io_ns: call.io_ns(),
            open: *open,
        });
    }
    Some(0)
}

/// Files that could be a checkpoint, once for what was written.
#[inline(always)]
fn is_worth_telling(open: &OpenFile) -> bool {
    let is_written = open.writes > 0 || open.open_flags & O_ACCMODE != 0;
    is_written && open.flags & FILE_TOLD == 0 && !Class::is_summed_only(open.class)
}
