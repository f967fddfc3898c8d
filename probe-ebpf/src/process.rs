//! The process room: keeps the set of traced threads, by fork, exec and exit, never by name.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_comm, bpf_ktime_get_ns},
    macros::{map, raw_tracepoint},
    maps::HashMap,
    programs::RawTracePointContext,
};
use probe_common::{
    header::{Header, Kind},
    loss::LossCause,
    process::{ExecRaw, ExitRaw, ForkRaw, Thread},
};

use crate::shared::{
    emit::{emit, lose},
    kern,
    kfunc::Undivided,
    log::log,
};

/// The traced threads. A hash map because thread ids are sparse (up to 4 million) and membership must be
/// exact; the one look-up is at once the filter and the state of the call in flight, and entries live as
/// long as the thread, so nothing is inserted or removed per event.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(16_384, 0);

/// 0 keeps to the processes that were named; written before load.
#[unsafe(no_mangle)]
static FOLLOW_CHILDREN: u8 = 1;

/// State of a traced thread; none for all others. The pointer stays valid for the program's run; only the
/// thread itself writes it while it is in the kernel.
#[inline(always)]
pub(crate) fn traced(tid: u32) -> Option<*mut Thread> {
    THREADS.get_ptr_mut(tid)
}

/// Header of a record about the current task.
#[inline(always)]
pub(crate) fn header(ctx: &impl EbpfContext, kind: Kind, ts_ns: u64) -> Header {
    Header { ts_ns, pid: ctx.tgid(), tid: ctx.pid(), kind: kind as u32, reserved: 0 }
}

/// `sched:sched_process_fork(parent, child)`: runs in the parent before the child does.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn process_fork(ctx: RawTracePointContext) -> i32 {
    let _undivided = Undivided::begin();
    try_fork(&ctx).unwrap_or(0)
}

fn try_fork(ctx: &RawTracePointContext) -> Option<i32> {
    traced(ctx.pid())?;
    let Some((child_tid, child_pid)) = kern::task_ids(ctx.arg(1)) else {
        lose(LossCause::KernelReadFault);
        return None;
    };
    let is_process = child_pid != ctx.tgid();
    // SAFETY: a plain static of this object, never written after load.
    if is_process && unsafe { core::ptr::read_volatile(&raw const FOLLOW_CHILDREN) } == 0 {
        return None;
    }
    let thread = Thread { pid: child_pid, ..Thread::default() };
    if THREADS.insert(child_tid, thread, 0).is_err() {
        lose(LossCause::ThreadTableFull);
    }
    log!(ctx, "fork: thread {} of process {}", child_tid, child_pid);
    if is_process {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        emit(&ForkRaw { header: header(ctx, Kind::Fork, now), child_pid, child_tid });
    }
    Some(0)
}

/// `sched:sched_process_exec(task, old_pid, bprm)`: a thread that executes takes over its leader's id.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn process_exec(ctx: RawTracePointContext) -> i32 {
    let _undivided = Undivided::begin();
    try_exec(&ctx).unwrap_or(0)
}

fn try_exec(ctx: &RawTracePointContext) -> Option<i32> {
    let old_tid: u32 = ctx.arg(1);
    traced(old_tid)?;
    if old_tid != ctx.pid() {
        let thread = Thread { pid: ctx.tgid(), ..Thread::default() };
        if THREADS.insert(ctx.pid(), thread, 0).is_err() {
            lose(LossCause::ThreadTableFull);
        }
        // The leader's own exit may have removed it already.
        let _ = THREADS.remove(old_tid);
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let comm = bpf_get_current_comm().unwrap_or_default();
    emit(&ExecRaw { header: header(ctx, Kind::Exec, now), comm });
    Some(0)
}

/// `sched:sched_process_exit(task)`: for every thread; the event is for the leader's alone.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn process_exit(ctx: RawTracePointContext) -> i32 {
    let _undivided = Undivided::begin();
    try_exit(&ctx).unwrap_or(0)
}

fn try_exit(ctx: &RawTracePointContext) -> Option<i32> {
    traced(ctx.pid())?;
    // Present: looked up above, and only this thread's own exit removes it.
    let _ = THREADS.remove(ctx.pid());
    if ctx.pid() == ctx.tgid() {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        emit(&ExitRaw { header: header(ctx, Kind::Exit, now) });
    }
    Some(0)
}
