//! `/proc` of one process and of all: pure parsers of its texts, and thin readers over them.
//! Texts are described in `proc_pid_stat(5)` and `proc_pid_status(5)`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// `PF_KTHREAD` of the kernel's `sched.h`: a thread without user space.
const PF_KTHREAD: u32 = 0x0020_0000;
/// Longest command line that is shown, characters.
const CMDLINE_CHARS: usize = 120;

/// One line of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process id (or thread id under `task/`).
    pub pid: u32,
    /// Name, up to 15 bytes; may hold spaces and parentheses.
    pub comm: String,
    /// State letter, as `ps` shows it.
    pub state: char,
    /// Parent process; 0 for none.
    pub ppid: u32,
    /// `PF_*` flags.
    pub flags: u32,
    /// CPU time so far, user and system, clock ticks.
    pub cpu_ticks: u64,
    /// Start time, clock ticks since boot: tells a process from a later one with its number.
    pub start_ticks: u64,
}

impl Stat {
    /// A kernel thread: has no user space that could be watched.
    pub const fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }

    /// It has ended, only its entry is left.
    pub const fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Parses `/proc/PID/stat`; the name ends at the *last* closing parenthesis.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let (pid, rest) = text.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        state: fields.first()?.chars().next()?,
        ppid: fields.get(1)?.parse().ok()?,
        flags: fields.get(6)?.parse().ok()?,
        cpu_ticks: fields.get(11)?.parse::<u64>().ok()?.saturating_add(fields.get(12)?.parse().ok()?),
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// The value of one line of `/proc/PID/status`.
pub fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `/proc/PID/cmdline` as a person would type it: blanks between the arguments, printable characters
/// only, at most 120 of them.
pub fn printable_cmdline(raw: &[u8]) -> String {
    let words = raw.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    let text = words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    let printable = |c: char| if c.is_control() { '?' } else { c };
    if text.chars().count() <= CMDLINE_CHARS {
        return text.chars().map(printable).collect();
    }
    text.chars().take(CMDLINE_CHARS - 3).map(printable).chain("...".chars()).collect()
}

/// The inode in a link text of `/proc/PID/fd` or `/proc/PID/ns`: `kind:[inode]`.
pub fn link_inode(link: &OsStr, kind: &str) -> Option<u64> {
    let digits = link.as_bytes().strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A path under `/proc/PID`.
pub fn path(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// Stat of a process.
///
/// # Errors
/// `NotFound` when there is none.
pub fn stat(pid: u32) -> io::Result<Stat> {
    read_stat(&path(pid, "stat"))
}

fn read_stat(path: &Path) -> io::Result<Stat> {
    // A process that ends between open and read gives ESRCH, which means the same.
    let bytes = fs::read(path).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    })?;
    parse_stat(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// All processes that exist now, by id. Those that end while they are read are left out.
pub fn all_processes() -> BTreeMap<u32, Stat> {
    numbers_in(Path::new("/proc")).filter_map(|pid| Some((pid, stat(pid).ok()?))).collect()
}

/// Threads of a process with their start times; empty when it is gone.
pub fn threads(pid: u32) -> Vec<Stat> {
    let tasks = path(pid, "task");
    numbers_in(&tasks).filter_map(|tid| read_stat(&tasks.join(tid.to_string()).join("stat")).ok()).collect()
}

/// The roots with all their descendants, each once, parents before children. Ended processes are left out.
pub fn tree(roots: &[u32], processes: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in processes.values() {
        children.entry(process.ppid).or_default().push(process.pid);
    }
    let mut found = Vec::new();
    let mut next: std::collections::VecDeque<u32> = roots.iter().copied().collect();
    while let Some(pid) = next.pop_front() {
        if found.contains(&pid) {
            continue;
        }
        if processes.get(&pid).is_some_and(|process| !process.is_dead()) {
            found.push(pid);
        }
        next.extend(children.get(&pid).into_iter().flatten());
    }
    found
}

/// The command line, or the name in brackets where there is none; empty when the process is gone.
pub fn cmdline(pid: u32) -> String {
    match fs::read(path(pid, "cmdline")).map(|raw| printable_cmdline(&raw)) {
        Ok(text) if !text.is_empty() => text,
        _ => stat(pid).map_or_else(|_| String::new(), |stat| format!("[{}]", stat.comm)),
    }
}

/// `/proc/PID/status` as text.
pub fn status(pid: u32) -> io::Result<String> {
    fs::read(path(pid, "status")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Inode of a namespace (`net`, `pid`, `user`, …) of a process.
pub fn namespace(pid: u32, kind: &str) -> io::Result<u64> {
    namespace_at(&path(pid, &format!("ns/{kind}")), kind)
}

/// Inode of a namespace of this process.
pub fn own_namespace(kind: &str) -> io::Result<u64> {
    namespace_at(Path::new(&format!("/proc/self/ns/{kind}")), kind)
}

fn namespace_at(path: &Path, kind: &str) -> io::Result<u64> {
    let link = fs::read_link(path)?;
    link_inode(link.as_os_str(), kind).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the file descriptors of a process point to.
///
/// # Errors
/// Other users' processes need `CAP_DAC_READ_SEARCH` and `CAP_SYS_PTRACE`.
pub fn fd_links(pid: u32) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path(pid, "fd"))?;
    // A descriptor that is closed meanwhile is none.
    Ok(entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect())
}

/// The entries of a directory whose names are numbers.
fn numbers_in(directory: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4242 (a) S (b c) S 17 4242 4242 0 -1 4194560 1 0 0 0 2 1 0 0 20 0 5 0 987654 1 1 \
                        18446744073709551615 0 0 0 0 0 0 0 16781312 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";

    #[test]
    fn stat_with_parentheses_in_the_name() {
        let stat = parse_stat(STAT).unwrap();
        assert_eq!((stat.pid, stat.comm.as_str(), stat.state, stat.ppid), (4242, "a) S (b c", 'S', 17));
        assert_eq!(stat.start_ticks, 987_654);
        assert!(!stat.is_kernel_thread() && !stat.is_dead());
    }

    #[test]
    fn stat_of_kthreadd_and_of_a_zombie() {
        let kthreadd =
            "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 24 0 0 18446744073709551615";
        assert!(parse_stat(kthreadd).unwrap().is_kernel_thread());
        assert!(parse_stat(&STAT.replace(") S 17", ") Z 17")).unwrap().is_dead());
    }

    #[test]
    fn damaged_stat_is_none() {
        for text in ["", "1", "1 (x", "1 (x) S", "x (x) S 1 1 1 0 -1 0", &STAT[..40]] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn status_fields() {
        let status = "Name:\tx\nTgid:\t7\nNSpid:\t7\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        for (name, value) in
            [("Tgid", Some("7")), ("NSpid", Some("7\t1")), ("Seccomp", Some("2")), ("No", None)]
        {
            assert_eq!(status_field(status, name), value);
        }
    }

    #[test]
    fn command_lines() {
        assert_eq!(printable_cmdline(b"python3\0-m\0uvicorn\0"), "python3 -m uvicorn");
        assert_eq!(printable_cmdline(b"a\x1b[31m\nb\0"), "a?[31m?b");
        assert_eq!(printable_cmdline(b""), "");
        let long = printable_cmdline(&[b'x'; 500]);
        assert_eq!(long.chars().count(), 120);
        assert!(long.ends_with("..."));
    }

    #[test]
    fn link_inodes() {
        for (link, kind, inode) in [
            ("socket:[123]", "socket", Some(123)),
            ("net:[4026531833]", "net", Some(4_026_531_833)),
            ("socket:[x]", "socket", None),
            ("/dev/null", "socket", None),
            ("pipe:[1]", "socket", None),
        ] {
            assert_eq!(link_inode(OsStr::new(link), kind), inode, "{link}");
        }
    }

    #[test]
    fn trees_are_whole_and_without_the_dead() {
        let process = |pid, ppid, state| {
            (pid, Stat { pid, comm: String::new(), state, ppid, flags: 0, cpu_ticks: 0, start_ticks: 0 })
        };
        let all = BTreeMap::from([
            process(1, 0, 'S'),
            process(10, 1, 'S'),
            process(11, 10, 'R'),
            process(12, 10, 'Z'),
            process(13, 12, 'S'),
            process(20, 1, 'S'),
        ]);
        assert_eq!(tree(&[10], &all), [10, 11, 13]);
        assert_eq!(tree(&[10, 11], &all), [10, 11, 13]);
        assert_eq!(tree(&[99], &all), [] as [u32; 0]);
    }

    #[test]
    fn reads_this_process() {
        let pid = std::process::id();
        assert_eq!(stat(pid).unwrap().pid, pid);
        assert!(threads(pid).iter().any(|thread| thread.pid == pid));
        assert!(all_processes().contains_key(&pid));
        assert_eq!(namespace(pid, "net").unwrap(), own_namespace("net").unwrap());
        assert!(!cmdline(pid).is_empty());
    }
}
