//! Which kind of tracepoint calls the programs: raw ones, or perf's where the kernel would interrupt programs at raw ones.

use std::{path::Path, thread};

use anyhow::{Context as _, Result, anyhow};
use aya::programs::{Program, TracePoint};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use probe_common::{kern::KernOffsets, rungs::Missing};

use crate::{
    host,
    probes::{
        Hook,
        rungs::{self, RAW_TRACEPOINTS},
    },
};

/// The first kernel that lets another thread run before a program at a raw tracepoint is done. If that thread comes to the
/// same program on the same processor, the kernel leaves the program out (`bpf_prog_get_recursion_context`). Perf's
/// tracepoints run theirs with preemption off, as raw ones did before. But a perf program is left out where any other one
/// is under way on its processor, so programs that interrupts call stay at raw tracepoints, and only those (which nothing
/// interrupts there).
const RAW_IS_INTERRUPTED: (u32, u32) = (7, 0);

/// Where they are numbered.
const TRACEFS: &str = "/sys/kernel/tracing";

/// The two kinds of tracepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracepoints {
    /// The cheapest hook that there is.
    Raw,
    /// About 150 ns more a time, whoever comes by.
    Perf,
}

impl Tracepoints {
    /// The name by which `--force-rung` takes it for refused.
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => rungs::RAW,
            Self::Perf => RAW_TRACEPOINTS.program,
        }
    }

    /// The better ones on this kernel, of those that are not in `without`.
    pub(super) fn best(offsets: &KernOffsets, without: &[String]) -> Self {
        if offsets.knows_records() { Self::best_on(host::own_version(), without) } else { Self::Raw }
    }

    fn best_on(version: (u32, u32), without: &[String]) -> Self {
        let is_left_out = |it: Self| without.iter().any(|name| name == it.name());
        if is_left_out(Self::Raw) || version >= RAW_IS_INTERRUPTED && !is_left_out(Self::Perf) {
            Self::Perf
        } else {
            Self::Raw
        }
    }

    /// What the kernel side must know of it.
    pub(super) const fn missing(self) -> Missing {
        match self {
            Self::Raw => Missing::NOTHING,
            Self::Perf => Missing::RAW,
        }
    }

    /// Whether a program goes to these rather than to a raw tracepoint.
    pub(super) fn has(self, hook: &Hook) -> bool {
        self == Self::Perf && hook.perf.is_some()
    }
}

/// Puts a loaded program at the perf tracepoint of a hook.
pub(super) fn attach(program: &mut Program, hook: &Hook) -> Result<()> {
    let category = hook.perf.context("it has no perf tracepoint")?;
    let program: &mut TracePoint = program.try_into()?;
    with_tracefs(|| Ok(program.attach(category, hook.tracepoint).map(drop)?))
}

/// Does something where tracefs is mounted: for everybody, or else for the thread alone that does it.
fn with_tracefs(act: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    if Path::new(TRACEFS).join("events").exists() {
        return act();
    }
    let mounted = || -> Result<()> {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).context("failed to take mounts of its own")?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
            .context("failed to keep mounts to itself")?;
        mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), none)
            .with_context(|| format!("failed to mount tracefs on {TRACEFS}"))?;
        act()
    };
    thread::scope(|scope| {
        scope.spawn(mounted).join().map_err(|_| anyhow!("the thread for tracefs panicked"))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Raw where they are whole, and where nothing else is left.
    #[test]
    fn the_better_of_both() {
        let best = |version, name: &str| Tracepoints::best_on(version, &[name.to_owned()]);
        assert_eq!(best((6, 19), ""), Tracepoints::Raw);
        assert_eq!(best((7, 0), ""), Tracepoints::Perf);
        assert_eq!(best((7, 3), "perf_tracepoints"), Tracepoints::Raw);
        assert_eq!(best((5, 10), "raw_tracepoints"), Tracepoints::Perf);
    }
}
