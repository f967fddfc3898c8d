//! Probes on functions of the traced tree's own files: finds the files that define them, places the programs, and keeps
//! looking, since a library may be loaded at any time.
//!
//! A probe belongs to a file (device and inode), not to a process: the kernel puts it into every mapping of the file,
//! present and future, so each file is looked at once. All of them go with the [`Kernel`] that holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroU32;

use anyhow::Result;
use aya::programs::uprobe::UProbeScope;
use probe_common::rooms::Rooms;

use super::load::{Kernel, LoadConfig};
use crate::event::BlindSpot;
use crate::host;
use crate::probes::{self, Function, tls};
use crate::target::{
    elf,
    maps::{self, FileId, Mapped},
    procfs, status_field,
};

/// How often a process that has just been executed is looked at, in drains of the ring, and how many times: its libraries
/// come within the first seconds, and what they do before they are found is not seen.
const LOOK_EVERY: u32 = 10;
const N_LOOKS: u32 = 50;

/// Kernels whose return probes are system calls that a seccomp filter refuses, which kills the process: 6.11 until the
/// exemption in 6.14. (It was carried back to some 6.12 and 6.13; a release number doesn't tell which.)
const REFUSED_BY_FILTERS: std::ops::Range<(u32, u32)> = (6, 11)..(6, 14);

/// The probed functions of a run.
#[derive(Debug)]
pub(super) struct Uprobes {
    functions: Vec<&'static Function>,
    /// Return probes can kill a process that has a seccomp filter, so each process is decided by itself.
    by_process: bool,
    /// Files that have been looked at, and for which process where each is decided by itself.
    seen: BTreeSet<(FileId, Option<u32>)>,
    /// Processes that were executed lately, and how often they will be looked at before the next second.
    young: BTreeMap<u32, u32>,
    n_ticks: u32,
    /// What was placed: functions by their file.
    placed: BTreeMap<String, BTreeSet<&'static str>>,
    /// What could not be placed: function, and why.
    refused: BTreeMap<(&'static str, String), &'static Function>,
}

/// What became of probes that were placed for a moment.
#[derive(Debug, Default)]
pub struct TriedFunctions {
    /// Functions that can be probed, by their file.
    pub placed: BTreeMap<String, BTreeSet<&'static str>>,
    /// Functions that cannot, and why.
    pub refused: Vec<(&'static str, String)>,
    /// Whether the programs read kernel memory by plain instructions.
    pub reads_directly: bool,
}

/// Places the probes on functions of these processes, or, where there is none, one on a function that this process has
/// itself, and takes them away again. No other process meets them, and they do nothing, as nothing is traced.
///
/// # Errors
/// When the kernel side cannot be loaded.
pub fn try_functions(config: &LoadConfig<'_>, pids: &[u32]) -> Result<TriedFunctions> {
    // Every C library has it, and nobody calls it often.
    const OWN: Function =
        Function { symbol: "getppid", programs: tls::SPEC.functions[1].programs, purpose: "" };
    let mut kernel = Kernel::load(config)?;
    let mut uprobes = Uprobes { by_process: true, ..Uprobes::new(config.rooms) };
    if pids.is_empty() {
        uprobes.functions = vec![&OWN];
        uprobes.look(&mut kernel, [std::process::id()]);
    } else {
        uprobes.look(&mut kernel, pids.iter().copied());
    }
    Ok(TriedFunctions {
        placed: uprobes.placed,
        refused: uprobes.refused.into_keys().collect(),
        reads_directly: kernel.reads_directly(),
    })
}

impl Uprobes {
    /// Nothing is placed yet.
    pub(super) fn new(rooms: Rooms) -> Self {
        Self {
            functions: probes::functions(rooms).map(|(_, function)| function).collect(),
            by_process: REFUSED_BY_FILTERS.contains(&host::own_version()),
            seen: BTreeSet::new(),
            young: BTreeMap::new(),
            n_ticks: 0,
            placed: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Places what is not yet placed in the files of these processes. Cheap when nothing is new: it reads their maps.
    pub(super) fn look(&mut self, kernel: &mut Kernel, pids: impl IntoIterator<Item = u32>) {
        if self.functions.is_empty() {
            return;
        }
        for pid in pids {
            // A process that is gone has nothing to be probed; one that can't be read is a blind spot of its own.
            for file in maps::code(pid).unwrap_or_default() {
                self.look_at(kernel, pid, &file);
            }
        }
    }

    /// A process was forked or executed: it is looked at soon and for a while.
    pub(super) fn appeared(&mut self, pid: u32) {
        if !self.functions.is_empty() {
            self.young.insert(pid, N_LOOKS);
        }
    }

    /// To be called at every drain: looks at the processes that appeared lately.
    pub(super) fn tick(&mut self, kernel: &mut Kernel) {
        self.n_ticks = self.n_ticks.wrapping_add(1);
        if self.young.is_empty() || !self.n_ticks.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let pids: Vec<u32> = self.young.keys().copied().collect();
        self.look(kernel, pids);
        self.young.retain(|_, n_looks| {
            *n_looks = n_looks.saturating_sub(1);
            *n_looks > 0
        });
    }

    /// A program of one of these functions is in place.
    pub(super) fn has_any(&self, functions: &[Function]) -> bool {
        let symbols = self.placed.values().flatten();
        symbols.into_iter().any(|symbol| functions.iter().any(|function| function.symbol == *symbol))
    }

    /// Takes the probes from these functions, for good.
    pub(super) fn give_up(&mut self, kernel: &mut Kernel, functions: &[Function]) -> Result<()> {
        let is_one = |symbol: &str| functions.iter().any(|function| function.symbol == symbol);
        self.functions.retain(|function| !is_one(function.symbol));
        for symbols in self.placed.values_mut() {
            symbols.retain(|symbol| !is_one(symbol));
        }
        let programs: Vec<&str> =
            functions.iter().flat_map(|function| function.programs.iter().copied()).collect();
        kernel.detach_functions(&programs)
    }

    /// What is not seen because a probe could not be placed.
    pub(super) fn blind_spots(&self) -> impl Iterator<Item = BlindSpot> {
        self.refused.iter().map(|((symbol, why), function)| BlindSpot {
            what: function.purpose.to_owned(),
            why: format!("no probe could be put on `{symbol}`: {why}"),
            remedy: "see `probe doctor`".to_owned(),
        })
    }

    fn look_at(&mut self, kernel: &mut Kernel, pid: u32, file: &Mapped) {
        let key = (file.id, self.by_process.then_some(pid));
        if self.seen.contains(&key) {
            return;
        }
        let names: Vec<&str> = self.functions.iter().map(|function| function.symbol).collect();
        let found = file.open(pid).and_then(|(path, opened)| Ok((path, elf::functions(&opened, &names)?)));
        let (path, found) = match found {
            Ok(found) => found,
            // Unmapped meanwhile, or its process is gone: where another one has it, it is looked at there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::debug!(pid, path = file.path, %error, "file not looked at");
                self.seen.insert(key);
                return;
            }
        };
        self.seen.insert(key);
        if found.is_empty() {
            return;
        }
        let scope = if !self.by_process {
            UProbeScope::AllProcesses
        } else if has_filter(pid) {
            for found in &found {
                let function = self.functions[found.name];
                let why =
                    "the process has a seccomp filter, and this kernel lets filters refuse return probes";
                self.refused.insert((function.symbol, why.to_owned()), function);
            }
            return;
        } else {
            NonZeroU32::new(pid).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess)
        };
        for found in found {
            let function = self.functions[found.name];
            let mut programs = function.programs.iter();
            match programs.try_for_each(|program| kernel.attach_function(program, &path, found.offset, scope))
            {
                Ok(()) => {
                    self.placed.entry(file.path.clone()).or_default().insert(function.symbol);
                }
                Err(error) => {
                    self.refused.insert((function.symbol, format!("{error:#}")), function);
                }
            }
            tracing::debug!(pid, path = file.path, symbol = function.symbol, offset = found.offset, "probed");
        }
    }
}

/// The process runs under a seccomp filter, or that can't be told.
fn has_filter(pid: u32) -> bool {
    procfs::status(pid).map_or(true, |status| status_field(&status, "Seccomp") != Some("0"))
}

#[cfg(test)]
mod tests {
    use super::REFUSED_BY_FILTERS;
    use crate::host::version_of;

    /// Where filters may refuse return probes, and where they never do.
    #[test]
    fn kernels_that_refuse() {
        for (release, expected) in [
            ("6.10.9", false),
            ("6.11.0-19-generic", true),
            ("6.12.117", true),
            ("6.14.1", false),
            ("7.3.4", false),
        ] {
            assert_eq!(REFUSED_BY_FILTERS.contains(&version_of(release)), expected, "{release}");
        }
    }
}
