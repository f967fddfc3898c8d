//! The ring to user space, and the count of everything that did not make it.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use probe_common::loss::{LossCause, N_CAUSES};
use zerocopy::{Immutable, IntoBytes};

/// Default 8 MiB, about a second of the busiest traffic seen; user space may resize it at load.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Per-CPU counters, one per [`LossCause`].
#[map]
static LOSS: PerCpuArray<u64> = PerCpuArray::with_max_entries(N_CAUSES as u32, 0);

/// Counts one loss.
#[inline(always)]
pub(crate) fn lose(cause: LossCause) {
    if let Some(count) = LOSS.get_ptr_mut(cause as u32) {
        // SAFETY: the slot belongs to this CPU; an interrupting program on it can at worst lose one count.
        unsafe { *count += 1 };
    }
}

/// Sends bytes to user space, or counts the loss.
///
/// Never wakes the reader: it drains on a timer, because a wake-up costs the traced CPU more than all the
/// rest of a program (measured 1.4 us against 25 ns).
#[inline(always)]
pub(crate) fn emit_bytes(bytes: &[u8]) {
    if EVENTS.output::<[u8]>(bytes, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        lose(LossCause::RingFull);
    }
}

/// Room for a record in the ring, to be filled in place, or a counted loss: for programs that can be preempted, where no
/// per-CPU scratch space is safe. It must be submitted with [`submit`].
#[inline(always)]
pub(crate) fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        lose(LossCause::RingFull);
    }
    entry
}

/// Sends a record that was filled in place.
#[inline(always)]
pub(crate) fn submit<T>(entry: RingBufEntry<T>) {
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// Gives room back in which there is nothing to tell.
#[inline(always)]
pub(crate) fn discard<T>(entry: RingBufEntry<T>) {
    entry.discard(u64::from(BPF_RB_NO_WAKEUP));
}

/// Sends a record to user space, or counts the loss.
#[inline(always)]
pub(crate) fn emit<T: IntoBytes + Immutable>(record: &T) {
    emit_bytes(record.as_bytes());
}
