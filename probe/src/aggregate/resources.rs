//! What the target and the machine used: levels over time, told apart by process and by disk.
//!
//! A level counts for as long as it held: from the look before to its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::evidence::Subject;
use crate::event::{ProcessLook, Resources};

mod history;
mod usage;

pub use history::{History, Moment};
pub use usage::Usage;
use usage::{Growth, share};

/// Processes that are told apart; the others count in the whole.
const MAX_PROCESSES: usize = 64;
const MAX_DISKS: usize = 32;

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ResourceStats {
    /// How often it was looked.
    pub looks: u64,
    /// All processes together.
    pub target: Usage,
    /// The machine.
    pub machine: Usage,
    /// Its CPUs.
    pub cpus: u32,
    /// What the target may take, bytes.
    pub memory_limit_bytes: Option<u64>,
    processes: BTreeMap<u32, (String, Usage)>,
    disks: BTreeMap<String, Usage>,
    #[serde(skip)]
    last: Option<Resources>,
    /// Over time; none where no plots are made of it.
    history: Option<History>,
}

impl ResourceStats {
    /// The same processes, with nothing counted yet: counters go on from the last look.
    pub(super) fn after(&self) -> Self {
        Self { last: self.last.clone(), ..Self::default() }
    }

    /// Keeps levels over time too.
    pub(super) fn with_history(self) -> Self {
        Self { history: Some(History::default()), ..self }
    }

    pub(super) fn add(&mut self, look: &Resources) {
        let Some(last) = self.last.replace(look.clone()) else {
            // The first look has nothing to be a difference to; what is a level is one already.
            self.levels(look, 1);
            return;
        };
        let passed_ns = look.ts_ns.saturating_sub(last.ts_ns);
        if passed_ns == 0 {
            return;
        }
        self.levels(look, passed_ns);
        let mut total = Growth::default();
        for process in &look.processes {
            let before = last.processes.iter().find(|before| before.pid == process.pid);
            let growth = Growth::between(before, process);
            total.add(growth);
            if let Some((_, usage)) = self.processes.get_mut(&process.pid) {
                usage.grown(growth, 1, passed_ns);
            }
        }
        self.target.grown(total, look.machine.cpus.max(1), passed_ns);
        let grown = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let (machine, then) = (look.machine, last.machine);
        if let (Some(busy), Some(all)) = (
            grown(machine.busy_ms, then.busy_ms),
            grown(machine.total_ms, then.total_ms).filter(|all| *all > 0),
        ) {
            self.machine.cpu.add(share(busy.min(all), all), passed_ns);
        }
        for (sum, more) in [
            (&mut self.machine.segments, grown(machine.segments, then.segments)),
            (&mut self.machine.retransmits, grown(machine.retransmits, then.retransmits)),
        ] {
            *sum = sum.saturating_add(more.unwrap_or(0));
        }
        for disk in &look.disks {
            let Some(before) = last.disks.iter().find(|before| before.device == disk.device) else {
                continue;
            };
            if self.disks.len() < MAX_DISKS || self.disks.contains_key(&disk.device) {
                let busy_ns = disk.busy_ms.saturating_sub(before.busy_ms).saturating_mul(1_000_000);
                let usage = self.disks.entry(disk.device.clone()).or_default();
                // The kernel counts in its own ticks: a disk that is always busy can seem to be a little more.
                usage.busy.add(share(busy_ns.min(passed_ns), passed_ns), passed_ns);
            }
        }
        if let Some(history) = &mut self.history {
            let rss = look.processes.iter().filter_map(|process| process.rss_bytes);
            let cpus = u64::from(machine.cpus.max(1));
            history.add(
                look.ts_ns,
                Moment {
                    cpu: total.cpu_ns.map(|ns| share(ns / cpus, passed_ns)),
                    machine_cpu: grown(machine.busy_ms, then.busy_ms)
                        .zip(grown(machine.total_ms, then.total_ms).filter(|all| *all > 0))
                        .map(|(busy, all)| share(busy.min(all), all)),
                    run_queue: total.run_queue_ns.map(|ns| share(ns, passed_ns)),
                    rss_bytes: Some(rss.sum()),
                    fds: Some(look.processes.iter().filter_map(|process| process.fds).map(u64::from).sum()),
                    connections: look.connections.map(u64::from),
                },
            );
        }
    }

    /// What is a level by itself.
    fn levels(&mut self, look: &Resources, weight: u64) {
        self.looks += 1;
        self.cpus = self.cpus.max(look.machine.cpus);
        self.memory_limit_bytes = look.machine.memory_limit_bytes.or(self.memory_limit_bytes);
        let limit = look.machine.memory_limit_bytes;
        let sum = |of: fn(&ProcessLook) -> Option<u64>| {
            look.processes.iter().filter_map(of).reduce(u64::saturating_add)
        };
        self.target.level(
            [
                sum(|process| process.rss_bytes),
                sum(|process| process.fds.map(u64::from)),
                sum(|process| Some(process.threads.into())),
            ],
            limit,
            weight,
        );
        for (spread, level) in
            [(&mut self.target.connections, look.connections), (&mut self.target.backlog, look.backlog)]
        {
            if let Some(level) = level {
                spread.add(level.into(), weight);
            }
        }
        for process in &look.processes {
            if self.processes.len() < MAX_PROCESSES || self.processes.contains_key(&process.pid) {
                let (comm, usage) = self.processes.entry(process.pid).or_default();
                comm.clone_from(&process.comm);
                let levels = [process.rss_bytes, process.fds.map(u64::from), Some(process.threads.into())];
                usage.level(levels, limit, weight);
            }
        }
    }

    /// Each process that was told apart: its id, its name, its levels.
    pub fn processes(&self) -> impl Iterator<Item = (u32, &str, &Usage)> {
        self.processes.iter().map(|(pid, (comm, usage))| (*pid, comm.as_str(), usage))
    }

    /// Each disk by its name.
    pub fn disks(&self) -> impl Iterator<Item = (&str, &Usage)> {
        self.disks.iter().map(|(name, usage)| (name.as_str(), usage))
    }

    /// Levels over time.
    pub const fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// Everything that objectives can be about.
    pub(super) fn subjects(&self) -> Vec<(String, &dyn Subject)> {
        if self.looks == 0 {
            return Vec::new();
        }
        let whole = [("target", &self.target), ("machine", &self.machine)];
        let whole = whole.into_iter().map(|(name, usage)| (name.to_owned(), usage as _));
        let processes =
            self.processes().map(|(pid, comm, usage)| (format!("process {comm} {pid}"), usage as _));
        let disks = self.disks().map(|(name, usage)| (format!("disk {name}"), usage as _));
        whole.chain(processes).chain(disks).collect()
    }

    /// Adds what another host, or another run, used.
    pub(super) fn merge(&mut self, other: &Self, shift_ns: i64) {
        self.history = match (self.looks, other.looks) {
            (0, _) => {
                other.history.clone().map(|history| history.shifted(shift_ns)).or_else(|| self.history.take())
            }
            (_, 0) => self.history.take(),
            // Two machines have no one history.
            _ => self.history.take().map(|_| History::default()),
        };
        self.looks = self.looks.saturating_add(other.looks);
        self.target.merge(&other.target);
        self.machine.merge(&other.machine);
        self.cpus = self.cpus.max(other.cpus);
        self.memory_limit_bytes = match (self.memory_limit_bytes, other.memory_limit_bytes) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        for (pid, (comm, usage)) in &other.processes {
            let (own_comm, own) = self.processes.entry(*pid).or_default();
            own_comm.clone_from(comm);
            own.merge(usage);
        }
        for (name, usage) in &other.disks {
            self.disks.entry(name.clone()).or_default().merge(usage);
        }
    }
}

#[cfg(test)]
mod tests;
