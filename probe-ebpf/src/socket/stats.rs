//! In-kernel histograms of the socket calls: nothing is sent up per call.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use probe_common::socket::{CONN_NONBLOCK, CONN_SERVER, Mode, N_OP_STATS, Op, OpStats, Role, op_index};

use crate::shared::fdio::Call;

/// Statistics by op, role and mode, per CPU.
#[map]
static OP_STATS: PerCpuArray<OpStats> = PerCpuArray::with_max_entries(N_OP_STATS as u32, 0);

/// `EAGAIN` (include/uapi/asm-generic/errno-base.h).
const EAGAIN: i64 = 11;

/// include/linux/socket.h
const MSG_DONTWAIT: u64 = 0x40;

/// Role and mode that a connection's flags and a call's `MSG_*` flags tell.
#[inline(always)]
pub(crate) fn role_and_mode(flags: u32, message_flags: u64) -> (Role, Mode) {
    let role = if flags & CONN_SERVER != 0 { Role::Server } else { Role::Client };
    let mode = if flags & CONN_NONBLOCK != 0 || message_flags & MSG_DONTWAIT != 0 {
        Mode::Nonblocking
    } else {
        Mode::Blocking
    };
    (role, mode)
}

/// Counts a call. `bytes` is whether the return value is a number of bytes.
#[inline(always)]
pub(crate) fn count(call: &Call, op: Op, (role, mode): (Role, Mode), bytes: bool) {
    let Some(stats) = OP_STATS.get_ptr_mut(op_index(op as u32, role as u32, mode as u32)) else { return };
    // SAFETY: the slot belongs to this CPU, and only `sys_exit` writes it, which no other program of that
    // hook can interrupt.
    let stats = unsafe { &mut *stats };
    stats.calls += 1;
    if call.ret == -EAGAIN {
        stats.would_block += 1;
    } else if call.ret < 0 {
        stats.errors += 1;
    } else if bytes {
        stats.bytes += call.ret.cast_unsigned();
    }
    call.record_in(&mut stats.took);
}
