//! Hooks that a run can do without. Where the kernel has no such hook, or refuses its program, the run goes on one rung
//! lower, and says so; without any other hook it does not begin.

use probe_common::{kfunc, rungs::Missing};

/// The rung below a hook.
#[derive(Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The program of the hook.
    pub program: &'static str,
    /// What is done instead.
    pub instead: &'static str,
    /// What is not seen, or not as well.
    pub unseen: &'static str,
    /// What the kernel side must know of it.
    pub missing: Missing,
}

/// Every hook that has a rung below it.
pub const FALLBACKS: &[Fallback] = &[
    Fallback {
        program: "process_fork",
        instead: "only the threads that exist at the attach are watched",
        unseen: "threads and processes that are created during the run",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "process_exec",
        instead: "a process is followed by its number alone",
        unseen: "programs that are started by another thread than the first of their process",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "fdio_enter",
        instead: "system calls are known from their return alone",
        unseen: "durations of system calls",
        missing: Missing::ENTRY,
    },
    Fallback {
        program: "socket_segment",
        instead: "a connection's first request is timed from its handshake, the others are counted only",
        unseen: "the arrival of requests, so the latency of most, and the delivery of responses",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "socket_read",
        instead: "the connection is looked up when the read returns",
        unseen: "arrivals while a read is under way: such a request may seem younger than it is",
        missing: Missing::READ,
    },
    Fallback {
        program: "socket_ready",
        instead: "a request on a Unix-domain socket begins with the read that brings it",
        unseen: "receive-queue wait on Unix-domain sockets",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "file_io_stalled",
        instead: "a write that the kernel holds back is only a slow one",
        unseen: "for how long writes were held back because too much was dirty",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "block_complete",
        instead: "means are made of `/proc/diskstats`",
        unseen: "percentiles of the time of requests of block devices",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "block_issue",
        instead: "requests of block devices are timed as a whole",
        unseen: "for how long requests of block devices were queued",
        missing: Missing::NOTHING,
    },
    Fallback {
        program: "sqlite_lock",
        instead: "waits are known from SQLite's sleeps alone",
        unseen: "which lock of which database was waited for, who held it, write transactions",
        missing: Missing::NOTHING,
    },
];

/// The rung below perf's tracepoints, where those are the better ones.
pub const RAW_TRACEPOINTS: Fallback = Fallback {
    program: "perf_tracepoints",
    instead: "raw tracepoints call the programs, where this kernel interrupts them",
    unseen: "what comes to a program that is interrupted on the same processor: it is counted as lost",
    missing: Missing::NOTHING,
};

/// The name of raw tracepoints, so that perf's are tried where they are not the better ones.
pub const RAW: &str = "raw_tracepoints";

/// The name of programs that have another one behind them (see `Hook::again`), as if each of their runs was left out.
pub const INTERRUPTED: &str = "interrupted_programs";

/// Every name that `--force-rung` takes for refused.
pub fn names() -> impl Iterator<Item = &'static str> {
    FALLBACKS.iter().map(|rung| rung.program).chain([
        RAW_TRACEPOINTS.program,
        RAW,
        INTERRUPTED,
        kfunc::READABLE,
    ])
}

/// The rung below a program, if there is one.
pub fn below(program: &str) -> Option<&'static Fallback> {
    FALLBACKS.iter().find(|fallback| fallback.program == program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::{every_room, hooks};

    /// A rung belongs to a hook that there is, and to one only.
    #[test]
    fn every_rung_has_its_hook() {
        for (at, fallback) in FALLBACKS.iter().enumerate() {
            let program = fallback.program;
            assert_eq!(
                hooks(every_room()).filter(|(_, hook)| hook.program == program).count(),
                1,
                "{program}"
            );
            assert!(FALLBACKS[..at].iter().all(|other| other.program != program), "{program}");
        }
    }
}
