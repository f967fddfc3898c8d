//! The sqlite room: who was granted, refused or gave back which byte-range lock of a database, in the tree and beside
//! it, and the sleeps of the tree's threads that may be waits for one.
//!
//! A conflict between threads of one process never reaches the kernel: of such a wait the sleeps are all that is seen
//! here. What it waited for, and whether it was SQLite that slept, is decided in user space.

mod checkpoint;
mod statement;
mod text;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{
        bpf_get_current_comm, bpf_ktime_get_ns, bpf_probe_read_user,
        generated::bpf_probe_read_user as probe_read_user,
    },
    macros::{map, raw_tracepoint},
    maps::{HashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use probe_common::{
    file::FileId,
    header::Kind,
    loss::LossCause,
    rooms::Rooms,
    sqlite::{
        F_UNLCK, FileRaw, LOCK_TRACED, LockRaw, SLEEP_MAX_NS, SLEEP_UNIT_NS, STACK_WORDS, SleepRaw,
        is_lock_range,
    },
};

use crate::{
    process,
    shared::{
        emit::{emit, lose},
        fdio::Call,
        kern, path,
        regs::{self, nr},
        rooms::is_on,
        tracepoint,
    },
};

/// Files of which a thread of the tree has locked a range that SQLite locks: from then on everybody's locks on them are
/// of interest. A hash map because inode numbers are sparse; changed only when a file is new.
#[map]
static SQLITE_FILES: HashMap<FileId, u32> = HashMap::with_max_entries(4096, 0);

/// Where a file's record is put together. Its program runs in tasks alone, and never twice at once on a CPU: the slot is
/// its own.
#[map]
static FILE_SCRATCH: PerCpuArray<FileRaw> = PerCpuArray::with_max_entries(1, 0);

/// Where a sleep's record is put together: too big for the stack. `sys_exit`'s program never runs twice at once on a CPU,
/// so the slot is its own.
#[map]
static SLEEP_SCRATCH: PerCpuArray<SleepRaw> = PerCpuArray::with_max_entries(1, 0);

/// `filelock:posix_lock_inode(inode, file_lock, ret)`: each attempt to lock or unlock a range, closing included.
#[raw_tracepoint(tracepoint = "posix_lock_inode")]
pub(crate) fn sqlite_lock(ctx: RawTracePointContext) -> i32 {
    try_lock(&ctx).unwrap_or(0)
}

#[inline(always)]
fn try_lock(ctx: &RawTracePointContext) -> Option<i32> {
    let Some(lock) = tracepoint::file_lock(ctx).and_then(kern::file_lock) else {
        lose(LossCause::KernelReadFault);
        return None;
    };
    let kind = u32::from(lock.kind);
    let is_ours = is_lock_range(lock.start, lock.end);
    // Whoever closes a file gives back all of it, in one piece.
    if !is_ours && kind != F_UNLCK {
        return None;
    }
    let file = kern::file::id(tracepoint::lock_inode(ctx, lock.file)?)?;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let flags = if process::traced(ctx.pid()).is_some() { LOCK_TRACED } else { 0 };
    // SAFETY: the value is not looked at.
    if unsafe { SQLITE_FILES.get(file) }.is_none() {
        if flags & LOCK_TRACED == 0 || !is_ours || kind == F_UNLCK {
            return None;
        }
        if SQLITE_FILES.insert(file, 1, 0).is_err() {
            lose(LossCause::SqliteTableFull);
            return None;
        }
        name(ctx, file, lock.file, now);
    }
    let ret = tracepoint::lock_result(ctx)?;
    if flags & LOCK_TRACED != 0 && ret == 0 {
        checkpoint::locked(ctx, &lock, now);
    }
    emit(&LockRaw {
        header: process::header(ctx, Kind::SqliteLock, now),
        file,
        start: lock.start,
        end: lock.end,
        kind,
        ret,
        flags,
        reserved: 0,
        comm: bpf_get_current_comm().unwrap_or_default(),
        sql: current(ctx.pid()),
    });
    Some(0)
}

/// Says what a file is called.
#[inline(always)]
fn name(ctx: &RawTracePointContext, id: FileId, file: u64, now: u64) {
    let Some(scratch) = FILE_SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's slot; see `FILE_SCRATCH`.
    let raw = unsafe { &mut *scratch };
    raw.header = process::header(ctx, Kind::SqliteFile, now);
    raw.file = id;
    let is_named = kern::file::place(file).is_some_and(|place| path::names(place, &mut raw.path));
    if !is_named {
        lose(LossCause::KernelReadFault);
        raw.path.head.len = 0;
    }
    emit(raw);
}

pub(crate) use checkpoint::{is_checkpoint_call, wrote};
pub(crate) use statement::futex;

/// The statement that this thread executes; see [`statement::current`].
#[inline(always)]
fn current(tid: u32) -> u64 {
    if is_on(Rooms::SQLITE_STATEMENTS) { statement::current(tid) } else { 0 }
}

/// `CLOCK_REALTIME` and no flags: what the C library makes of `usleep` and `nanosleep`.
const CLOCK_REALTIME: u64 = 0;

/// nanosleep, clock_nanosleep.
#[inline(always)]
pub(crate) fn sleep(ctx: &RawTracePointContext, call: &Call, number: u64, arg: &[u64; 5]) -> Option<i32> {
    let request = match number {
        nr::NANOSLEEP => arg[0],
        _ if arg[0] == CLOCK_REALTIME && arg[1] as u32 == 0 => arg[2],
        _ => return None,
    };
    if call.enter_ns == 0 {
        return None;
    }
    // SAFETY: the helper checks the address and fails instead of faulting.
    let Ok((seconds, nanoseconds)) = (unsafe { bpf_probe_read_user(request as *const (u64, u64)) }) else {
        lose(LossCause::UserReadFault);
        return None;
    };
    if seconds > 1 {
        return None;
    }
    let requested_ns = seconds * 1_000_000_000 + nanoseconds;
    if requested_ns == 0 || requested_ns > SLEEP_MAX_NS || requested_ns % SLEEP_UNIT_NS != 0 {
        return None;
    }
    let scratch = SLEEP_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; see `SLEEP_SCRATCH`.
    let raw = unsafe { &mut *scratch };
    raw.header = process::header(ctx, Kind::SqliteSleep, call.ts_ns);
    raw.enter_ns = call.enter_ns;
    raw.requested_ns = requested_ns;
    raw.sql = current(ctx.pid());
    let stack = regs::user_stack(tracepoint::registers(ctx))?;
    // SAFETY: the destination is as long as said; the helper checks the source.
    let failed = unsafe {
        probe_read_user(raw.stack.as_mut_ptr().cast(), (STACK_WORDS * 8) as u32, stack as *const _)
    };
    if failed != 0 {
        // A stack that ends within the words, or is not resident: user space goes by the thread's other calls.
        raw.stack = [0; STACK_WORDS];
    }
    emit(raw);
    Some(0)
}
