//! Threads that exist already, handed to the kernel side; see `probe-ebpf/src/process/threads.rs`, which does the same for
//! new ones meanwhile.

use anyhow::{Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use nix::errno::Errno;
use probe_common::process::{NR_UNKNOWN, Slot, Thread, slots_of};

use super::load::take;

/// Insert only what is not there (include/uapi/linux/bpf.h): the fork event may have come first, and its
/// state is the better one.
const BPF_NOEXIST: u64 = 1;

/// The kernel side's tables of threads.
pub(super) struct Threads {
    slots: Array<MapData, Slot>,
    owners: HashMap<MapData, u32, u32>,
    shared: Array<MapData, u32>,
}

impl Threads {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            slots: take(ebpf, "THREADS")?,
            owners: take(ebpf, "THREAD_OWNERS")?,
            shared: take(ebpf, "THREAD_SHARED")?,
        })
    }

    /// A thread that may be inside any system call.
    pub(super) fn add(&mut self, pid: u32, tid: u32) -> Result<()> {
        let [first, second] = slots_of(tid);
        if self.own(first, pid, tid)? {
            return Ok(());
        }
        self.shared.set(first, 1, 0)?;
        ensure!(self.own(second, pid, tid)?, "the tables of threads are full");
        Ok(())
    }

    /// Whether the slot is this thread's, now or before.
    fn own(&mut self, slot: u32, pid: u32, tid: u32) -> Result<bool> {
        if !is_new(self.owners.insert(slot, tid, BPF_NOEXIST))? {
            return Ok(self.has(slot, tid));
        }
        let thread = Thread { pid, nr: NR_UNKNOWN, ..Thread::default() };
        // The kernel does not write it at once: the id, by which it is found, comes last.
        for tid in [0, tid] {
            self.slots.set(slot, Slot { thread, tid, reserved: 0 }, 0)?;
        }
        Ok(true)
    }

    /// A thread that may be gone already.
    pub(super) fn remove(&mut self, tid: u32) {
        for slot in slots_of(tid) {
            if self.has(slot, tid) {
                // What fails here was removed by the thread's own end.
                let _ = self.slots.set(slot, Slot::default(), 0);
                let _ = self.owners.remove(&slot);
            }
        }
    }

    fn has(&self, slot: u32, tid: u32) -> bool {
        self.owners.get(&slot, 0).is_ok_and(|owner| owner == tid)
    }
}

/// Whether it was inserted now, and not there before.
fn is_new(inserted: Result<(), MapError>) -> Result<bool, MapError> {
    match inserted {
        Ok(()) => Ok(true),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(Errno::EEXIST as i32) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
