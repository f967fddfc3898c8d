//! Calls on maps that no other thread may interrupt.
//!
//! While a call on a map is under way, the kernel leaves out every program of perf's that comes to the same processor
//! (`bpf_disable_instrumentation`, kernel/bpf/syscall.c): for as long as the caller has the processor that is nobody's. Were
//! another thread put in its place, all its system calls would be missed until the caller is back.

use nix::libc;

use super::tracepoints::Tracepoints;

/// How calls on maps are made in this run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undisturbed {
    is_needed: bool,
}

impl Undisturbed {
    /// Only perf's programs are left out. A priority that somebody gave us on purpose is left alone.
    pub(super) fn with(tracepoints: Tracepoints) -> Self {
        // SAFETY: a call without pointers; 0 is the calling thread.
        let policy = unsafe { libc::sched_getscheduler(0) };
        Self { is_needed: tracepoints == Tracepoints::Perf && policy == libc::SCHED_OTHER }
    }

    /// Makes one call ahead of all threads with an ordinary priority. Without the right to do so
    /// (CAP_SYS_NICE) it is an ordinary call, and what it costs others is counted as lost.
    pub(super) fn call<T>(self, call: impl FnOnce() -> T) -> T {
        let is_ahead = self.is_needed && schedule(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1);
        let result = call();
        if is_ahead && !schedule(libc::SCHED_OTHER, 0) {
            tracing::warn!("failed to give up a real-time priority");
        }
        result
    }
}

/// Sets the calling thread's policy; whether that worked.
fn schedule(policy: libc::c_int, sched_priority: libc::c_int) -> bool {
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: the kernel reads `parameters`, which outlives the call; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> i32 {
        // SAFETY: as above.
        unsafe { libc::sched_getscheduler(0) }
    }

    /// Ahead during the call where that is needed and allowed, never behind it.
    #[test]
    fn gives_the_priority_back() {
        let before = policy();
        let raw = Undisturbed::with(Tracepoints::Raw);
        assert_eq!(raw.call(policy), before);
        let may = schedule(libc::SCHED_FIFO, 1) && schedule(libc::SCHED_OTHER, 0);
        let during = Undisturbed::with(Tracepoints::Perf).call(policy);
        let ahead = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
        assert_eq!(during, if may { ahead } else { before });
        assert_eq!(policy(), before);
    }
}
