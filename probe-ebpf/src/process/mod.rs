//! The process room: keeps the set of traced threads, by fork, exec and exit, never by name.

mod threads;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_comm, bpf_ktime_get_ns},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use probe_common::{
    header::{Header, Kind},
    loss::LossCause,
    process::{ExecRaw, ExitRaw, ForkRaw, Thread},
};

use crate::shared::{
    constants::constant,
    emit::{emit, lose},
    kern,
    log::log,
    tracepoint,
};

pub(crate) use threads::traced;

/// Header of a record about the current task.
#[inline(always)]
pub(crate) fn header(ctx: &impl EbpfContext, kind: Kind, ts_ns: u64) -> Header {
    Header { ts_ns, pid: ctx.tgid(), tid: ctx.pid(), kind: kind as u32, reserved: 0 }
}

/// `sched:sched_process_fork(parent, child)`: runs in the parent before the child does.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn process_fork(ctx: RawTracePointContext) -> i32 {
    try_fork(&ctx).unwrap_or(0)
}

fn try_fork(ctx: &RawTracePointContext) -> Option<i32> {
    traced(ctx.pid())?;
    let Some((child_tid, child_pid)) = kern::task_ids(ctx.arg(1)) else {
        lose(LossCause::KernelReadFault);
        return None;
    };
    let is_process = child_pid != ctx.tgid();
    if is_process && constant!(follow_children) == 0 {
        return None;
    }
    let thread = Thread { pid: child_pid, ..Thread::default() };
    threads::add(child_tid, thread);
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
    try_exec(&ctx).unwrap_or(0)
}

fn try_exec(ctx: &RawTracePointContext) -> Option<i32> {
    let old_tid = tracepoint::old_tid(ctx)?;
    traced(old_tid)?;
    if old_tid != ctx.pid() {
        let thread = Thread { pid: ctx.tgid(), ..Thread::default() };
        // Its own exit may have removed the leader already.
        threads::remove(ctx.pid());
        threads::add(ctx.pid(), thread);
        threads::remove(old_tid);
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
    try_exit(&ctx).unwrap_or(0)
}

fn try_exit(ctx: &RawTracePointContext) -> Option<i32> {
    traced(ctx.pid())?;
    threads::remove(ctx.pid());
    if ctx.pid() == ctx.tgid() {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        emit(&ExitRaw { header: header(ctx, Kind::Exit, now) });
    }
    Some(0)
}
