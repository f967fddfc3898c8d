//! Whose a process id is that the driver names.
//!
//! The driver knows nothing of pid namespaces, so it names processes of containers by their number on the host, which
//! is how the tree is known. Some versions of it, and some ways of sharing a GPU, give the number that the process
//! has in its container instead.

use std::collections::BTreeSet;

use crate::target::procfs;

/// Processes that were found to be the target's.
#[derive(Debug, Default)]
pub struct Owners {
    known: BTreeSet<u32>,
}

impl Owners {
    /// The traced process that the driver means by `pid`, by its number on the host; none where it is no traced one.
    /// `inner` gives the number that a process has in its own namespace.
    pub fn find(
        &mut self,
        pid: u32,
        tree: &BTreeSet<u32>,
        exists: impl Fn(u32) -> bool,
        inner: impl Fn(u32) -> Option<u32>,
    ) -> Option<u32> {
        if tree.contains(&pid) {
            self.known.insert(pid);
            return Some(pid);
        }
        if exists(pid) {
            // The number is another process's by now, or was from the start.
            self.known.remove(&pid);
            return None;
        }
        // A number that nobody has on the host: of a traced process that has just ended, or of a container.
        if self.known.contains(&pid) {
            return Some(pid);
        }
        let mut inside = tree.iter().copied().filter(|member| inner(*member) == Some(pid));
        match (inside.next(), inside.next()) {
            (Some(member), None) => Some(member),
            // Two containers have a process of this number: a guess would be right half of the time.
            _ => None,
        }
    }
}

/// The number that a process has in the innermost of its namespaces; none where that is the host's.
pub fn inner_pid(pid: u32) -> Option<u32> {
    let status = procfs::status(pid).ok()?;
    let mut numbers = procfs::status_field(&status, "NSpid")?.split_whitespace();
    let _host = numbers.next()?;
    numbers.next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_host_and_of_containers() {
        let tree = BTreeSet::from([100, 101, 102]);
        // 100 is on the host, 101 is number 7 in its container, 102 is number 8 in another, 7 is a stranger's as well.
        let inner = |pid| match pid {
            101 => Some(7),
            102 => Some(8),
            _ => None,
        };
        let exists = |pid| [7, 100, 101, 102, 200].contains(&pid);
        let mut owners = Owners::default();
        let mut find = |pid| owners.find(pid, &tree, exists, inner);
        assert_eq!(find(100), Some(100));
        assert_eq!(find(200), None, "a stranger");
        assert_eq!(find(7), None, "a number that the host has is the host's");
        assert_eq!(find(8), Some(102), "a number of a container");
        assert_eq!(find(9), None, "nobody's");
        let ended = owners.find(100, &BTreeSet::new(), |_| false, inner);
        assert_eq!(ended, Some(100), "a traced process that has just ended");
        assert_eq!(owners.find(100, &BTreeSet::new(), |_| true, inner), None, "its number is another's now");
        let twins = BTreeSet::from([101, 103]);
        assert_eq!(owners.find(7, &twins, |_| false, |_| Some(7)), None, "two containers have a 7");
    }

    /// On the host itself there is one number only.
    #[test]
    fn reads_the_kernel() {
        assert_eq!(inner_pid(std::process::id()).is_some(), procfs_has_two());
        assert_eq!(inner_pid(0), None);
    }

    fn procfs_has_two() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("NSpid")).unwrap();
        line.split_whitespace().count() > 2
    }
}
