//! What `/proc` tells about a process tree that decides what can be seen of it: for `probe doctor`, and
//! for the blind spots of a report.

use std::collections::BTreeSet;
use std::fs;

use super::{Listener, listeners, procfs, status_field};

/// Facts of a process tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The first root.
    pub pid: u32,
    /// Its command line, printable.
    pub cmdline: String,
    /// Its program file.
    pub exe: String,
    /// Processes of the tree.
    pub processes: Vec<u32>,
    /// Threads of the tree.
    pub n_threads: usize,
    /// TCP listeners that the tree holds.
    pub listeners: Vec<Listener>,
    /// A process runs under seccomp: 0 none, 1 strict, 2 with a filter.
    pub seccomp: u8,
    /// The tree is in another pid namespace than we are.
    pub is_other_pid_ns: bool,
    /// The tree is in another network namespace than we are.
    pub is_other_net_ns: bool,
    /// TLS libraries that are mapped, by file name.
    pub tls_libraries: BTreeSet<String>,
    /// SQLite libraries that are mapped, by file name.
    pub sqlite_libraries: BTreeSet<String>,
    /// `io_uring` instances that are open.
    pub n_io_urings: usize,
    /// Processes whose descriptors or maps could not be read.
    pub unreadable: Vec<u32>,
}

/// Gathers the facts; what cannot be read stays at its default and is named in `unreadable`.
pub fn gather(roots: &[u32]) -> Facts {
    let processes = procfs::tree(roots, &procfs::all_processes());
    let first = roots.first().copied().unwrap_or_default();
    let mut facts = Facts {
        pid: first,
        cmdline: procfs::cmdline(first),
        exe: fs::read_link(procfs::path(first, "exe"))
            .map(|exe| exe.display().to_string())
            .unwrap_or_default(),
        n_threads: processes.iter().map(|&pid| procfs::threads(pid).len()).sum(),
        listeners: listeners(&processes),
        is_other_pid_ns: is_other_namespace(&processes, "pid"),
        is_other_net_ns: is_other_namespace(&processes, "net"),
        ..Facts::default()
    };
    for &pid in &processes {
        let status = procfs::status(pid).unwrap_or_default();
        let seccomp = status_field(&status, "Seccomp").and_then(|mode| mode.parse().ok()).unwrap_or_default();
        facts.seccomp = facts.seccomp.max(seccomp);
        let (Ok(links), Ok(maps)) = (procfs::fd_links(pid), fs::read_to_string(procfs::path(pid, "maps")))
        else {
            facts.unreadable.push(pid);
            continue;
        };
        facts.n_io_urings += links.iter().filter(|link| link.as_os_str() == "anon_inode:[io_uring]").count();
        let libraries = mapped_libraries(&maps);
        facts.tls_libraries.extend(libraries.iter().filter(|name| is_tls_library(name)).cloned());
        facts.sqlite_libraries.extend(libraries.into_iter().filter(|name| is_sqlite_library(name)));
    }
    facts.processes = processes;
    facts
}

fn is_other_namespace(pids: &[u32], kind: &str) -> bool {
    let Ok(own) = procfs::own_namespace(kind) else { return false };
    pids.iter().any(|&pid| procfs::namespace(pid, kind).is_ok_and(|inode| inode != own))
}

/// File names of what is mapped executable, from `/proc/PID/maps` (`proc_pid_maps(5)`).
fn mapped_libraries(maps: &str) -> BTreeSet<String> {
    let file_name = |line: &str| {
        let mut fields = line.splitn(6, ' ');
        let is_code = fields.nth(1)?.contains('x');
        let path = fields.nth(3)?.trim();
        (is_code && path.starts_with('/')).then(|| path.rsplit('/').next().map(str::to_owned))?
    };
    maps.lines().filter_map(file_name).collect()
}

fn is_tls_library(name: &str) -> bool {
    ["libssl.so", "libssl-", "libssl3.so", "libgnutls.so", "libnss3.so"]
        .iter()
        .any(|known| name.starts_with(known))
        || name.starts_with("_ssl.")
}

fn is_sqlite_library(name: &str) -> bool {
    name.starts_with("libsqlite3") || name.starts_with("_sqlite3.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0-55d1 r--p 00000000 fe:00 100                        /usr/bin/python3.12
7f00-7f01 r-xp 00002000 fe:00 101                        /usr/lib/x86_64-linux-gnu/libssl.so.3
7f02-7f03 rw-p 00002000 fe:00 102                        /usr/lib/x86_64-linux-gnu/libgnutls.so.30
7f04-7f05 r-xp 00002000 fe:00 103                        /opt/a b/libsqlite3.so.0.8.6 (deleted)
7f06-7f07 r-xp 00000000 00:00 0                          [vdso]
7f08-7f09 rw-p 00000000 00:00 0
";

    #[test]
    fn libraries_in_maps() {
        let libraries = mapped_libraries(MAPS);
        assert_eq!(libraries.len(), 2, "{libraries:?}");
        assert!(libraries.iter().any(|name| is_tls_library(name)));
        assert!(libraries.iter().any(|name| is_sqlite_library(name)));
        assert!(mapped_libraries("").is_empty());
    }

    #[test]
    fn library_names() {
        for (name, tls, sqlite) in [
            ("libssl.so.3", true, false),
            ("libssl-9d0e1f2a.so.3", true, false),
            ("_ssl.cpython-312-x86_64-linux-gnu.so", true, false),
            ("libsqlite3.so.0.8.6", false, true),
            ("_sqlite3.cpython-312-x86_64-linux-gnu.so", false, true),
            ("libc.so.6", false, false),
        ] {
            assert_eq!((is_tls_library(name), is_sqlite_library(name)), (tls, sqlite), "{name}");
        }
    }

    #[test]
    fn facts_of_this_process() {
        let pid = std::process::id();
        let facts = gather(&[pid]);
        assert!(facts.processes.contains(&pid) && facts.n_threads >= 1);
        assert!(!facts.is_other_net_ns && !facts.is_other_pid_ns && facts.unreadable.is_empty());
    }
}
