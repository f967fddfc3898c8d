//! In-kernel histograms of the calls on files, by class and call.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use probe_common::file_io::{FileOpStats, N_FILE_OP_STATS, Op, file_op_index};

use crate::shared::fdio::Call;

/// Statistics by class and call, per CPU.
#[map]
static FILE_OP_STATS: PerCpuArray<FileOpStats> = PerCpuArray::with_max_entries(N_FILE_OP_STATS as u32, 0);

/// Counts a call and its bytes.
#[inline(always)]
pub(super) fn count(call: &Call, class: u32, op: Op, bytes: u64) {
    let Some(stats) = FILE_OP_STATS.get_ptr_mut(file_op_index(class, op as u32)) else { return };
    // SAFETY: the slot belongs to this CPU, and only `sys_exit` writes it, which no other program of that
    // hook can interrupt.
    let stats = unsafe { &mut *stats };
    stats.calls += 1;
    stats.bytes += bytes;
    if call.ret < 0 {
        stats.errors += 1;
    }
    call.record_in(&mut stats.took);
}
