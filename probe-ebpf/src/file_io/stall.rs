//! Writes that the kernel holds back because too many pages are dirty.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_ktime_get_ns,
    macros::{map, raw_tracepoint},
    maps::PerCpuArray,
    programs::RawTracePointContext,
};
use probe_common::{
    file_io::STALL_NS,
    hist::{Durations, bucket_of},
};

use crate::{
    process,
    shared::{bounds::opaque, fdio::Call},
};

/// For how long, per CPU.
#[map]
static WRITE_STALLS: PerCpuArray<Durations> = PerCpuArray::with_max_entries(1, 0);

/// `writeback:balance_dirty_pages(…)`: in the writing thread, before each of its pauses. What it says of them differs
/// between kernels and is not looked at.
#[raw_tracepoint(tracepoint = "balance_dirty_pages")]
pub(crate) fn file_io_stalled(ctx: RawTracePointContext) -> i32 {
    if let Some(thread) = process::traced(ctx.pid()) {
        // SAFETY: a valid map value that only this thread writes while it is in the kernel.
        let thread = unsafe { &mut *thread };
        if thread.stalled_ns < thread.enter_ns {
            // SAFETY: a helper without arguments.
            thread.stalled_ns = unsafe { bpf_ktime_get_ns() };
        }
    }
    0
}

/// A write at its return: counts it if it was held back.
#[inline(always)]
pub(super) fn returned(call: &Call) {
    // SAFETY: as above.
    let since = unsafe { (*call.thread).stalled_ns };
    if call.enter_ns == 0 || since < call.enter_ns || call.ts_ns < since + STALL_NS {
        return;
    }
    let Some(stalls) = WRITE_STALLS.get_ptr_mut(0) else { return };
    let stalled = call.ts_ns - since;
    // SAFETY: this CPU's slot, and only `sys_exit` writes it, which no other program of that hook can interrupt.
    unsafe { (*stalls).record(stalled, opaque(bucket_of(stalled))) };
}
