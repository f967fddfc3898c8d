//! The traced processes: adopts those that run at the attach, then follows the events.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::load::Kernel;
use crate::{
    event::Event,
    target::{Listener, Root, diag::Diag, diag::Queue, diag::SocketKey, listeners, procfs, unix},
};

/// Rounds over `/proc` until no thread is new; fork events fill in what comes later anyway.
const MAX_ROUNDS: u32 = 10;

/// The tree as it is known now.
#[derive(Debug)]
pub(super) struct Tree {
    /// Living processes.
    live: BTreeSet<u32>,
    /// Processes that were forked or executed since this was last taken.
    appeared: BTreeSet<u32>,
    /// Processes ever traced.
    pub(super) n_processes: u32,
    pub(super) n_threads: u32,
    /// Listeners at the attach.
    pub(super) listeners: Vec<Listener>,
    queues: BTreeMap<SocketKey, Watched>,
    diag: Diag,
    /// Ports on which the tree began to listen during the run.
    new_ports: BTreeSet<u16>,
    /// A process began to listen since the listeners were last looked for.
    is_stale: bool,
    /// Why queues cannot be read, where they cannot.
    pub(super) diag_error: Option<String>,
}

/// A listener's queue over the run.
#[derive(Clone, Copy, Debug)]
struct Watched {
    drops_before: u32,
    last: Queue,
    backlog_max: u32,
}

impl Tree {
    /// Hands every living thread of the tree to the kernel side, whose fork hook is attached already: a
    /// thread is either found here or reported there.
    pub(super) fn adopt(kernel: &mut Kernel, roots: &[Root], children: bool) -> Result<Self> {
        let mut known = BTreeSet::new();
        let mut pids = processes(roots, children);
        // The ports before the threads: whether a connection is the server's is decided when it is first seen.
        listen(kernel, &pids)?;
        for _ in 0..MAX_ROUNDS {
            pids = processes(roots, children);
            let before = known.len();
            for &pid in &pids {
                for thread in procfs::threads(pid) {
                    if known.insert((thread.pid, thread.start_ticks)) {
                        kernel.trace_thread(pid, thread.pid)?;
                        forget_if_gone(kernel, &thread);
                    }
                }
            }
            if known.len() == before {
                break;
            }
        }
        // Again, for a process that had only just begun to listen.
        let listeners = listen(kernel, &pids)?;
        let mut tree = Self {
            n_processes: count(pids.len()),
            n_threads: count(known.len()),
            live: pids.into_iter().collect(),
            listeners,
            appeared: BTreeSet::new(),
            queues: BTreeMap::new(),
            diag: Diag::default(),
            new_ports: BTreeSet::new(),
            is_stale: false,
            diag_error: None,
        };
        tree.look(true);
        Ok(tree)
    }

    /// Looks at the listeners' queues; to be called once a second, since what a socket counted is gone with it.
    pub(super) fn second(&mut self) {
        self.find_listeners();
        self.look(false);
    }

    /// Takes in the listeners that are new, while they are there.
    fn find_listeners(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            let pids: Vec<u32> = self.live.iter().copied().collect();
            for listener in listeners(&pids) {
                let is_known =
                    |known: &Listener| (known.netns, known.inode) == (listener.netns, listener.inode);
                if !self.listeners.iter().any(is_known) {
                    self.listeners.push(listener);
                }
            }
        }
    }

    /// Connections that wait for `accept`, at the last look; none where queues cannot be read.
    pub(super) fn backlog(&self) -> Option<u32> {
        let queues = self.listeners.iter().filter_map(|known| self.queues.get(&(known.netns, known.inode)));
        let backlog = queues.map(|queue| queue.last.backlog).reduce(u32::saturating_add);
        backlog.filter(|_| self.diag_error.is_none())
    }

    /// Ports of the listeners.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.listeners.iter().map(|listener| listener.port).collect()
    }

    /// Takes note of processes that come and go.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Fork(fork) => {
                self.n_processes += u32::from(self.live.insert(fork.child_pid));
                self.appeared.insert(fork.child_pid);
            }
            Event::Exec(exec) => {
                self.live.insert(exec.pid);
                self.appeared.insert(exec.pid);
            }
            Event::Listen(listen) => {
                self.new_ports.insert(listen.port);
                self.is_stale = true;
            }
            Event::Exit(exit) => {
                self.live.remove(&exit.pid);
            }
            _ => {}
        }
    }

    /// Living processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.live.iter().copied()
    }

    /// The same as a set.
    pub(super) const fn live(&self) -> &BTreeSet<u32> {
        &self.live
    }

    /// Processes that were forked or executed since the last time.
    pub(super) fn take_appeared(&mut self) -> impl Iterator<Item = u32> + use<> {
        std::mem::take(&mut self.appeared).into_iter()
    }

    /// No traced process is left.
    pub(super) fn is_gone(&self) -> bool {
        !self.live.iter().any(|&pid| procfs::stat(pid).is_ok_and(|stat| !stat.is_dead()))
    }

    /// The listeners that the tree holds now or held at the attach, with what was dropped in between.
    pub(super) fn listeners_now(&mut self) -> Vec<crate::event::Listener> {
        self.is_stale = true;
        self.find_listeners();
        self.look(false);
        let mut all: Vec<_> = self
            .listeners
            .iter()
            .map(|listener| {
                let queue = self.queues.get(&(listener.netns, listener.inode));
                crate::event::Listener {
                    addr: listener.addr,
                    port: listener.port,
                    overflows: queue
                        .map(|queue| u64::from(queue.last.drops.wrapping_sub(queue.drops_before))),
                    backlog_seen: queue.map_or(0, |queue| queue.backlog_max),
                    backlog_limit: queue.map(|queue| queue.last.backlog_limit),
                }
            })
            .collect();
        all.sort_by_key(|listener| (listener.port, listener.addr));
        all
    }

    fn look(&mut self, first: bool) {
        let mut read = || {
            for &pid in &self.live {
                // A process that has just ended took its namespace's answer with it.
                if procfs::stat(pid).is_ok() {
                    self.diag.cover(pid)?;
                }
            }
            self.diag.read()
        };
        let queues = match read() {
            Ok(queues) => queues,
            Err(error) => {
                self.diag_error.get_or_insert(format!("{error:#}"));
                return;
            }
        };
        for (key, queue) in queues {
            // A listener that the tree made during the run began with no drops; any other had what it has.
            let is_new = !first && self.new_ports.contains(&queue.port);
            let drops_before = if is_new { 0 } else { queue.drops };
            let watched =
                self.queues.entry(key).or_insert(Watched { drops_before, last: queue, backlog_max: 0 });
            watched.last = queue;
            watched.backlog_max = watched.backlog_max.max(queue.backlog);
        }
    }
}

/// The processes of the tree that exist now.
pub(super) fn processes(roots: &[Root], children: bool) -> Vec<u32> {
    let roots: Vec<u32> = roots.iter().map(|root| root.pid).collect();
    if children { procfs::tree(&roots, &procfs::all_processes()) } else { roots }
}

/// Tells the kernel side the ports of all listeners of the tree.
fn listen(kernel: &mut Kernel, pids: &[u32]) -> Result<Vec<Listener>> {
    let listeners = listeners(pids);
    for listener in &listeners {
        kernel.listen(listener.port)?;
    }
    kernel.listen_unix(&unix::listeners(pids))?;
    Ok(listeners)
}

/// The id could be another thread's by now, which must not be traced for it. (`/proc/TID` exists for threads too.)
fn forget_if_gone(kernel: &mut Kernel, thread: &procfs::Stat) {
    if !procfs::stat(thread.pid).is_ok_and(|now| now.start_ticks == thread.start_ticks) {
        kernel.forget_thread(thread.pid);
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
