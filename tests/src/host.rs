//! What the running kernel says of processes and of the network, read from /proc.

use std::{collections::BTreeSet, fs, path::Path};

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

/// A counter of the network namespace: `TcpExt ListenOverflows`.
pub fn net_counter(group: &str, name: &str) -> Result<u64> {
    let path = Path::new("/proc/net/netstat");
    let text = fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let group = format!("{group}:");
    let mut lines = text.lines().filter(|line| line.starts_with(&group));
    let names = lines.next().context("no such group of counters")?;
    let values = lines.next().context("a group without values")?;
    let at = names.split_whitespace().position(|found| found == name).context("no such counter")?;
    let value = values.split_whitespace().nth(at).context("a counter without a value")?;
    value.parse().with_context(|| format!("failed to read `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::{net_counter, stat_fields, tree};

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

    /// The counters that the overflow test compares with are there.
    #[test]
    fn the_overflow_counter_is_there() {
        net_counter("TcpExt", "ListenOverflows").unwrap();
        assert!(net_counter("TcpExt", "NoSuchThing").is_err());
    }
}
