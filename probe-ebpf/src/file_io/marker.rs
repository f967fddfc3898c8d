//! Markers: lines by which an application names its stages itself, `probe:stage=NAME doc=ID begin`.

use aya_ebpf::{
    helpers::{bpf_probe_read_user, generated::bpf_probe_read_user as probe_read_user},
    macros::map,
    maps::PerCpuArray,
    programs::RawTracePointContext,
};
use probe_common::{
    file_io::{MARKER_BYTES, MARKER_PREFIX, MarkerRaw},
    header::Kind,
};

use crate::{
    process,
    shared::{emit::emit_bytes, fdio::Call},
};

/// Where a record is put together. `sys_exit`'s program never runs twice at once on a CPU.
#[map]
static MARKER_SCRATCH: PerCpuArray<MarkerRaw> = PerCpuArray::with_max_entries(1, 0);

/// Where the first range of an array of `struct iovec` begins.
#[inline(always)]
pub(super) fn first_of(vector: u64) -> u64 {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_user(vector as *const u64) }.unwrap_or(0)
}

/// Whether a write is long enough for a marker.
#[inline(always)]
pub(crate) fn may_be(call: &Call) -> bool {
    call.ret > 0 && call.ret.cast_unsigned() >= MARKER_PREFIX.len() as u64
}

/// Sends a write up if it begins like a marker.
#[inline(always)]
pub(super) fn look(ctx: &RawTracePointContext, call: &Call, from: u64) -> Option<()> {
    if !may_be(call) {
        return None;
    }
    // SAFETY: the helper checks the address and fails instead of faulting.
    let start: [u8; MARKER_PREFIX.len()] = unsafe { bpf_probe_read_user(from as *const _) }.ok()?;
    if u64::from_ne_bytes(start) != u64::from_ne_bytes(MARKER_PREFIX) {
        return None;
    }
    let raw = MARKER_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; see `MARKER_SCRATCH`.
    let raw = unsafe { &mut *raw };
    let at = if call.enter_ns == 0 { call.ts_ns } else { call.enter_ns };
    raw.header = process::header(ctx, Kind::Marker, at);
    raw.io_ns = call.io_ns();
    let len = call.ret.cast_unsigned() as usize;
    let len = if len > MARKER_BYTES { MARKER_BYTES } else { len };
    raw.len = len as u64;
    // SAFETY: `len` is at most the array's; the helper checks the source.
    let failed = unsafe { probe_read_user(raw.bytes.as_mut_ptr().cast(), len as u32, from as *const _) };
    if failed == 0 {
        let whole = (size_of::<MarkerRaw>() - MARKER_BYTES + len).min(size_of::<MarkerRaw>());
        // SAFETY: within the record, whose bytes are all initialised (map memory starts zeroed).
        emit_bytes(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(raw).cast::<u8>(), whole) });
    }
    Some(())
}
