//! Checkpoints of the WAL: what a thread wrote and synced while it had the lock of the one who makes them.

use aya_ebpf::{EbpfContext as _, macros::map, maps::LruHashMap, programs::RawTracePointContext};
use probe_common::{
    header::Kind,
    sqlite::{CKPT_BYTE, CheckpointRaw, F_UNLCK, F_WRLCK, SHM_LAST},
};

use crate::{
    process,
    shared::{emit::emit, fdio::Call, kern::FileLock, regs::nr},
};

/// Insert only what is not there (include/uapi/linux/bpf.h).
const BPF_NOEXIST: u64 = 1;

/// What was done so far.
#[repr(C)]
#[derive(Clone, Copy)]
struct Work {
    pages: u64,
    bytes: u64,
    syncs: u64,
    sync_ns: u64,
}

/// By thread. A hash map because thread ids are sparse; the least recently used make room, because a thread can end with
/// the lock.
#[map]
static SQLITE_CHECKPOINTS: LruHashMap<u32, Work> = LruHashMap::with_max_entries(1024, 0);

/// The lock of a `-shm` was granted to this thread, or given back by it.
#[inline(always)]
pub(super) fn locked(ctx: &RawTracePointContext, lock: &FileLock, now: u64) {
    if lock.start > CKPT_BYTE || lock.end < CKPT_BYTE || lock.end > SHM_LAST {
        return;
    }
    let tid = ctx.pid();
    if u32::from(lock.kind) == F_WRLCK {
        // The kernel merges neighbours: the lock may be there already, and another one is asked for.
        let _ =
            SQLITE_CHECKPOINTS.insert(tid, Work { pages: 0, bytes: 0, syncs: 0, sync_ns: 0 }, BPF_NOEXIST);
        return;
    }
    if u32::from(lock.kind) != F_UNLCK {
        return;
    }
    // SAFETY: only this thread writes its entry, and it is here.
    let Some(work) = (unsafe { SQLITE_CHECKPOINTS.get(tid) }) else { return };
    emit(&CheckpointRaw {
        header: process::header(ctx, Kind::SqliteCheckpoint, now),
        pages: work.pages,
        bytes: work.bytes,
        syncs: work.syncs,
        sync_ns: work.sync_ns,
        sql: super::current(tid),
    });
    // Present: just read.
    let _ = SQLITE_CHECKPOINTS.remove(tid);
}

/// Whether a checkpoint makes this call.
#[inline(always)]
pub(crate) fn is_checkpoint_call(number: u64) -> bool {
    matches!(number, nr::PWRITE64 | nr::FSYNC | nr::FDATASYNC)
}

/// Such a call, at its return.
#[inline(always)]
pub(crate) fn wrote(tid: u32, call: &Call) {
    let Some(work) = SQLITE_CHECKPOINTS.get_ptr_mut(tid) else { return };
    // SAFETY: only this thread writes its entry, and it is here.
    let work = unsafe { &mut *work };
    if call.nr != nr::PWRITE64 {
        work.syncs += 1;
        work.sync_ns += call.took_ns();
    } else if call.ret > 0 {
        work.pages += 1;
        work.bytes += call.ret.cast_unsigned();
    }
}
