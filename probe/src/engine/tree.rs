//! The traced processes: adopts those that run at the attach, then follows the events.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::load::Kernel;
use crate::{
    event::Event,
    target::{Listener, Root, diag::Diag, diag::Queue, diag::SocketKey, listeners, procfs},
};

/// Rounds over `/proc` until no thread is new; fork events fill in what comes later anyway.
const MAX_ROUNDS: u32 = 10;

/// The tree as it is known now.
#[derive(Debug)]
pub(super) struct Tree {
    /// Living processes.
    live: BTreeSet<u32>,
    /// Processes ever traced.
    pub(super) n_processes: u32,
    pub(super) n_threads: u32,
    /// Listeners and their queues at the attach.
    pub(super) listeners: Vec<Listener>,
    queues: BTreeMap<SocketKey, Queue>,
    diag: Diag,
    /// Why queues cannot be read, where they cannot.
    pub(super) diag_error: Option<String>,
}

impl Tree {
    /// Hands every living thread of the tree to the kernel side, whose fork hook is attached already: a
    /// thread is either found here or reported there.
    pub(super) fn adopt(kernel: &mut Kernel, roots: &[Root], children: bool) -> Result<Self> {
        let root_pids: Vec<u32> = roots.iter().map(|root| root.pid).collect();
        let mut known = BTreeSet::new();
        let mut pids = Vec::new();
        for _ in 0..MAX_ROUNDS {
            pids = if children { procfs::tree(&root_pids, &procfs::all_processes()) } else { root_pids.clone() };
            let before = known.len();
            for &pid in &pids {
                for thread in procfs::threads(pid) {
                    if known.insert((thread.pid, thread.start_ticks)) {
                        kernel.trace_thread(pid, thread.pid)?;
                        forget_if_gone(kernel, pid, &thread);
                    }
                }
            }
            if known.len() == before {
                break;
            }
        }
        let listeners = listeners(&pids);
        for listener in &listeners {
            kernel.listen(listener.port)?;
        }
        let mut tree = Self {
            n_processes: count(pids.len()),
            n_threads: count(known.len()),
            live: pids.into_iter().collect(),
            listeners,
            queues: BTreeMap::new(),
            diag: Diag::default(),
            diag_error: None,
        };
        tree.queues = tree.read_queues();
        Ok(tree)
    }

    /// Takes note of processes that come and go.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Fork(fork) => {
                self.n_processes += u32::from(self.live.insert(fork.child_pid));
            }
            Event::Exec(exec) => {
                self.live.insert(exec.pid);
            }
            Event::Exit(exit) => {
                self.live.remove(&exit.pid);
            }
            _ => {}
        }
    }

    /// No traced process is left.
    pub(super) fn is_gone(&self) -> bool {
        !self.live.iter().any(|&pid| procfs::stat(pid).is_ok_and(|stat| !stat.is_dead()))
    }

    /// The listeners that the tree holds now or held at the attach, with what was dropped in between.
    pub(super) fn listeners_now(&mut self) -> Vec<crate::event::Listener> {
        let pids: Vec<u32> = self.live.iter().copied().collect();
        let mut found: BTreeMap<SocketKey, Listener> = BTreeMap::new();
        for listener in self.listeners.drain(..).chain(listeners(&pids)) {
            found.insert((listener.netns, listener.inode), listener);
        }
        let queues = self.read_queues();
        let mut all: Vec<_> = found
            .into_iter()
            .map(|(key, listener)| {
                let now = queues.get(&key);
                // A listener that is new since the attach began with none.
                let before = self.queues.get(&key).map_or(0, |queue| queue.drops);
                crate::event::Listener {
                    addr: listener.addr,
                    port: listener.port,
                    overflows: now.map(|queue| u64::from(queue.drops.wrapping_sub(before))),
                    backlog_limit: now.or_else(|| self.queues.get(&key)).map(|queue| queue.backlog_limit),
                }
            })
            .collect();
        all.sort_by_key(|listener| (listener.port, listener.addr));
        all
    }

    fn read_queues(&mut self) -> BTreeMap<SocketKey, Queue> {
        let mut read = || {
            for &pid in &self.live {
                // A process that has just ended took its namespace's answer with it.
                if procfs::stat(pid).is_ok() {
                    self.diag.cover(pid)?;
                }
            }
            self.diag.read()
        };
        read().unwrap_or_else(|error| {
            self.diag_error.get_or_insert(format!("{error:#}"));
            BTreeMap::new()
        })
    }
}

/// The id could be another thread's by now, which must not be traced for it.
fn forget_if_gone(kernel: &mut Kernel, pid: u32, thread: &procfs::Stat) {
    let same = procfs::threads(pid).iter().any(|now| now.pid == thread.pid && now.start_ticks == thread.start_ticks);
    if !same {
        kernel.forget_thread(thread.pid);
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
