//! The block room: how long requests of block devices take, whoever asked for them: below the file systems nobody knows.
//!
//! The kernel itself notes when a request was made; only when it was given to the device is noted here.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{map, raw_tracepoint},
    maps::{HashMap, LruHashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use probe_common::{
    block::{MAX_DEVICES, N_REQUEST_STATS, RequestKind, RequestStats, request_index},
    hist::{Durations, bucket_of},
    loss::LossCause,
};

use crate::shared::{
    bounds::opaque,
    emit::lose,
    kern::block::{self, Request},
};

/// Slots of the devices that are watched, by major << 20 | minor; written by user space, which thereby begins the count. A
/// hash map because numbers of devices are sparse.
#[map]
static BLOCK_DEVICES: HashMap<u32, u32> = HashMap::with_max_entries(MAX_DEVICES as u32, 0);

/// Statistics by slot and kind, per CPU.
#[map]
static BLOCK_STATS: PerCpuArray<RequestStats> = PerCpuArray::with_max_entries(N_REQUEST_STATS as u32, 0);

/// When requests were given to their devices, by the address of their `struct request`: as many as are under way. What a
/// device lost makes room in time.
#[map]
static BLOCK_ISSUED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);

/// `block:block_rq_issue(request)`; before 5.11 the queue comes first, so that no request is found again by its address.
#[raw_tracepoint(tracepoint = "block_rq_issue")]
pub(crate) fn block_issue(ctx: RawTracePointContext) -> i32 {
    let request: u64 = ctx.arg(0);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // Without room nothing is known of how long it was queued, which its count says.
    let _ = BLOCK_ISSUED.insert(request, now, 0);
    0
}

/// `block:block_rq_complete(request, error, bytes)`: once for each part of a request that ends.
#[raw_tracepoint(tracepoint = "block_rq_complete")]
pub(crate) fn block_complete(ctx: RawTracePointContext) -> i32 {
    try_complete(&ctx).unwrap_or(0)
}

#[inline(always)]
fn try_complete(ctx: &RawTracePointContext) -> Option<i32> {
    let at: u64 = ctx.arg(0);
    let (error, bytes): (u64, u64) = (ctx.arg(1), ctx.arg(2));
    let Some(request) = block::request(at) else {
        lose(LossCause::KernelReadFault);
        return None;
    };
    // SAFETY: a valid map value of four bytes, read at once.
    let slot = *unsafe { BLOCK_DEVICES.get(request.device) }?;
    let kind = kind(&request, bytes & 0xffff_ffff)?;
    let issued = issued(at);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let stats = BLOCK_STATS.get_ptr_mut(request_index(slot, kind))?;
    // SAFETY: the slot belongs to this CPU, and the kernel never runs a program of a tracepoint inside itself.
    let stats = unsafe { &mut *stats };
    stats.requests += 1;
    stats.bytes += bytes & 0xffff_ffff;
    if error as u32 != 0 {
        stats.errors += 1;
    }
    record(&mut stats.took, request.start_ns, now);
    if let Some(issued) = issued {
        record(&mut stats.queued, request.start_ns, issued);
    }
    Some(0)
}

/// When the request at this address was given to its device.
#[inline(always)]
fn issued(request: u64) -> Option<u64> {
    // SAFETY: a valid map value of eight bytes, read at once.
    let issued = *unsafe { BLOCK_ISSUED.get(request) }?;
    // Addresses are used again.
    let _ = BLOCK_ISSUED.remove(request);
    Some(issued)
}

/// What a request is; none for one that goes on, and for what is no request of a file system.
#[inline(always)]
fn kind(request: &Request, bytes: u64) -> Option<RequestKind> {
    /// The part of the flags that says what is to be done (include/linux/blk_types.h).
    const OPERATION: u32 = 0xff;
    const FLUSH: u32 = 2;
    const DISCARD: u32 = 3;
    const SECURE_ERASE: u32 = 5;
    /// From here on drivers speak with their devices.
    const DRIVERS: u32 = 32;
    let operation = request.flags & OPERATION;
    if operation == FLUSH {
        return Some(RequestKind::Flush);
    }
    // A write with a flush around it ends twice, the second time with nothing left.
    if bytes == 0 || bytes < u64::from(request.left) || operation >= DRIVERS {
        return None;
    }
    Some(match operation {
        DISCARD | SECURE_ERASE => RequestKind::Discard,
        operation if operation & 1 == 1 => RequestKind::Write,
        _ => RequestKind::Read,
    })
}

#[inline(always)]
fn record(durations: &mut Durations, from_ns: u64, to_ns: u64) {
    if from_ns != 0 && to_ns >= from_ns {
        let took = to_ns - from_ns;
        durations.record(took, opaque(bucket_of(took)));
    }
}
