//! The process room: follows the traced tree by fork, exec and exit.

mod decode;

pub use decode::decode;

use probe_common::rooms::Rooms;

use super::{Hook, Spec};

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "process",
    summary: "the process tree: forked and executed children, by event, never by name",
    room: Rooms::NONE,
    needs: Rooms::NONE,
    hooks: &[
        Hook {
            program: "process_fork",
            again: None,
            tracepoint: "sched_process_fork",
            perf: None,
            since: "4.17",
            purpose: "workers, children and threads that are created during the run",
        },
        Hook {
            program: "process_exec",
            again: None,
            tracepoint: "sched_process_exec",
            perf: Some("sched"),
            since: "4.17",
            purpose: "children that replace their program (uvicorn --workers, hypercorn)",
        },
        Hook {
            program: "process_exit",
            again: None,
            tracepoint: "sched_process_exit",
            perf: Some("sched"),
            since: "4.17",
            purpose: "ended threads, so that a reused id is never taken for the target",
        },
    ],
    functions: &[],
};
