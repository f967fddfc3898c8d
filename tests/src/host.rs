//! What the running kernel says of processes and of the network, read from /proc.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result};

/// The process and everything that descends from it now.
pub fn tree(pid: u32) -> Result<BTreeSet<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to list /proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may be gone by now.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{child}/stat"))
            && let Some(parent) = stat_fields(&stat).nth(1).and_then(|field| field.parse::<u32>().ok())
        {
            parents.push((child, parent));
        }
    }
    let mut found = BTreeSet::from([pid]);
    loop {
        let before = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| found.contains(parent))
                .map(|(child, _)| *child)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            return Ok(found);
        }
    }
}

/// Whether every thread of the tree sleeps: an idle server. (A thread that a tracer holds does not sleep.)
pub fn all_asleep(pid: u32) -> Result<bool> {
    for process in tree(pid)? {
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { continue };
            if stat_fields(&stat).next().is_some_and(|state| !matches!(state, "S" | "I" | "Z" | "X")) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The number of the system call in which the main thread of `pid` sleeps; none while it runs.
pub fn sleeping_in(pid: u32) -> Option<u64> {
    fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?.split(' ').next()?.parse().ok()
}

/// The threads of a process; none when it is gone.
pub fn thread_ids(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// Threads of a process; 0 when it is gone.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The fields of /proc/PID/stat behind the name in parentheses: state, parent, ...
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit(')').next().unwrap_or_default().split_whitespace()
}

/// Ids of the kernel programs that a process holds, itself or by a link.
pub fn programs_of(pid: u32) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    let folder = format!("/proc/{pid}/fdinfo");
    for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {folder}"))? {
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        ids.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix("prog_id:"))
                .filter_map(|value| value.trim().parse::<u32>().ok()),
        );
    }
    Ok(ids)
}

/// What `ss` shows of a listening socket.
#[derive(Clone, Copy, Debug)]
pub struct ListenerState {
    /// Connections that wait to be accepted.
    pub queued: u64,
    /// Packets that the kernel dropped at it: `skmem:(…,d12)`.
    pub drops: u64,
}

/// The listener of this port.
pub fn listener(port: u16) -> Result<ListenerState> {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-H", "-lntm", &filter]).output().context("failed to run `ss`")?;
    let text = String::from_utf8(output.stdout)?;
    let skmem = text.split("skmem:(").nth(1).and_then(|rest| rest.split(')').next());
    let drops = skmem.and_then(|fields| fields.split(',').find_map(|field| field.strip_prefix('d')));
    let drops = drops.with_context(|| format!("no listener on port {port}: `{text}`"))?;
    let queued = text.split_whitespace().nth(1).context("no length of the queue")?;
    Ok(ListenerState {
        queued: queued.parse().context("no length of the queue")?,
        drops: drops.parse().context("no number of drops")?,
    })
}

/// For how long a thread has run so far, nanoseconds.
pub fn ran_ns(tid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{tid}/schedstat"))?;
    Ok(text.split(' ').next().context("no schedstat")?.parse()?)
}

/// Whether this is a machine in software (`cargo xtask test --kernels`): counts hold there, times say nothing.
#[must_use]
pub fn is_emulated() -> bool {
    std::env::var_os("PROBE_TEST_EMULATED").is_some()
}

#[cfg(test)]
mod tests {
    use super::{listener, stat_fields, tree};

    /// A name with blanks and parentheses does not shift the fields.
    #[test]
    fn names_do_not_shift_fields() {
        let fields: Vec<&str> = stat_fields("12 (a) b (c) S 7 12").collect();
        assert_eq!(fields, ["S", "7", "12"]);
    }

    /// A child shows in its parent's tree.
    #[test]
    fn children_are_in_the_tree() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = tree(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
    }

    /// A listener shows who waits; a port without one is an error.
    #[test]
    fn what_a_listener_shows() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listening.local_addr().unwrap();
        let _waiting = std::net::TcpStream::connect(addr).unwrap();
        let state = listener(addr.port()).unwrap();
        assert_eq!((state.queued, state.drops), (1, 0));
        drop(listening);
        assert!(listener(addr.port()).is_err());
    }
}
