//! The traced threads and the state of the call that each is in.
//!
//! Every system call of every process asks whether its thread is one of them, and a traced one asks several times, so the
//! answer lies in an array, where the thread's id says. Ids that share their first slot are rare: the second one goes to
//! its second slot. Whoever puts a slot into a map of owners first has it; entries live as long as the thread, so nothing
//! is inserted or removed per event.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use probe_common::{
    loss::LossCause,
    process::{N_SLOTS, Slot, Thread, slots_of},
};

use crate::shared::emit::lose;

/// Slots of threads.
#[map]
static THREADS: Array<Slot> = Array::with_max_entries(N_SLOTS, 0);

/// Whose each slot is. A hash map, because only an insertion into one is decided among several processors on every kernel.
#[map]
static THREAD_OWNERS: HashMap<u32, u32> = HashMap::with_max_entries(N_SLOTS, 0);

/// Whether a thread did not get this slot and may be in its second one; never taken back, so that it can be written without
/// a look.
#[map]
static THREAD_SHARED: Array<u32> = Array::with_max_entries(N_SLOTS, 0);

/// Insert only what is not there (include/uapi/linux/bpf.h).
const BPF_NOEXIST: u64 = 1;

/// State of a traced thread; none for all others. The pointer stays valid for the program's run; only the
/// thread itself writes it while it is in the kernel.
#[inline(always)]
pub(crate) fn traced(tid: u32) -> Option<*mut Thread> {
    let slot = slot(tid)?;
    // SAFETY: a valid map value.
    Some(unsafe { &raw mut (*slot).thread })
}

/// The slot that a thread has.
#[inline(always)]
fn slot(tid: u32) -> Option<*mut Slot> {
    let [first, second] = slots_of(tid);
    let slot = THREADS.get_ptr_mut(first)?;
    if is_of(slot, tid) {
        return Some(slot);
    }
    if THREAD_SHARED.get(first).is_none_or(|shared| *shared == 0) {
        return None;
    }
    THREADS.get_ptr_mut(second).filter(|slot| is_of(*slot, tid))
}

#[inline(always)]
fn is_of(slot: *mut Slot, tid: u32) -> bool {
    // SAFETY: a valid map value, of which one word is read.
    unsafe { (*slot).tid == tid }
}

/// Traces a thread that does not run yet, or is the current one.
#[inline(always)]
pub(super) fn add(tid: u32, thread: Thread) {
    let [first, second] = slots_of(tid);
    if own(first, tid, thread).is_some() {
        return;
    }
    if let Some(shared) = THREAD_SHARED.get_ptr_mut(first) {
        // SAFETY: a valid map value that only ever becomes 1.
        unsafe { *shared = 1 };
    }
    if own(second, tid, thread).is_none() {
        lose(LossCause::ThreadTableFull);
    }
}

/// Takes a slot that is free.
#[inline(always)]
fn own(index: u32, tid: u32, thread: Thread) -> Option<()> {
    let slot = THREADS.get_ptr_mut(index)?;
    THREAD_OWNERS.insert(index, tid, BPF_NOEXIST).ok()?;
    // SAFETY: a valid map value that nobody else writes: the slot is this thread's. The id says that all is there.
    unsafe {
        (*slot).thread = thread;
        (*slot).tid = tid;
    }
    Some(())
}

/// Stops tracing a thread, which may be none of the traced ones.
#[inline(always)]
pub(super) fn remove(tid: u32) {
    for index in slots_of(tid) {
        if let Some(slot) = THREADS.get_ptr_mut(index).filter(|slot| is_of(*slot, tid)) {
            // SAFETY: a valid map value; the slot is this thread's.
            unsafe { (*slot).tid = 0 };
            let _ = THREAD_OWNERS.remove(index);
        }
    }
}
