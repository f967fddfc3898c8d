//! Looks at the processes, one look after the other, and what a look has to remember for the next.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::parse;
use crate::event::{DiskLook, MachineLook, ProcessLook, Resources};
use crate::target::{Root, procfs};

/// Looks that come sooner after one another would be mostly rounding.
const MIN_APART: Duration = Duration::from_millis(250);
/// Processes that are looked at; the ids that are lowest.
const MAX_PROCESSES: usize = 256;
/// Threads of a process that are looked at one by one.
const MAX_THREADS: usize = 256;
/// Counting connections may take this part of the time: the kernel walks its whole table for it, 7 ms where that has the
/// 262 144 places of a machine with some memory.
const CONNECTIONS_SHARE: u32 = 1000;

/// What others know already.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Connections that wait for `accept`.
    pub backlog: Option<u32>,
    /// Ports on which the tree listens.
    pub ports: Vec<u16>,
    /// Disks on which the tree has written.
    pub disks: Vec<DiskLook>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Sampler {
    page_bytes: u64,
    tick_ms: u64,
    memory_limit_bytes: Option<u64>,
    last: Option<Instant>,
    next_connections: Option<Instant>,
    /// By process: sums over its threads, with what each of them had when last looked at.
    threads: HashMap<u32, Threads>,
}

/// Sums that survive the threads they were made of.
#[derive(Clone, Debug, Default)]
struct Threads {
    sums: Counters,
    last: HashMap<u32, Counters>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    voluntary: Option<u64>,
    involuntary: Option<u64>,
    run_queue_ns: Option<u64>,
}

impl Sampler {
    /// Has not looked yet. The limit on memory is that of the first of these processes.
    pub fn new(roots: &[Root]) -> Self {
        let positive = |var, or| {
            sysconf(var).ok().flatten().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(or)
        };
        Self {
            page_bytes: positive(SysconfVar::PAGE_SIZE, 4096),
            tick_ms: 1000 / positive(SysconfVar::CLK_TCK, 100).min(1000),
            memory_limit_bytes: memory_limit(roots.first().map_or(0, |root| root.pid)),
            last: None,
            next_connections: None,
            threads: HashMap::new(),
        }
    }

    /// Looks at these processes; none when it has only just looked.
    pub fn look(
        &mut self,
        pids: impl Iterator<Item = u32>,
        now_ns: u64,
        around: impl FnOnce() -> Around,
    ) -> Option<Resources> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < MIN_APART) {
            return None;
        }
        self.last = Some(now);
        let around = around();
        let processes: Vec<ProcessLook> =
            pids.take(MAX_PROCESSES).filter_map(|pid| self.process(pid)).collect();
        self.threads.retain(|pid, _| processes.iter().any(|process| process.pid == *pid));
        let first = processes.first().map(|process| process.pid);
        Some(Resources {
            ts_ns: now_ns,
            machine: self.machine(first),
            connections: first.and_then(|pid| self.connections(pid, &around.ports)),
            processes,
            backlog: around.backlog,
            disks: around.disks,
        })
    }

    fn process(&mut self, pid: u32) -> Option<ProcessLook> {
        let stat = procfs::stat(pid).ok().filter(|stat| !stat.is_dead())?;
        let read = |name: &str| fs::read_to_string(procfs::path(pid, name)).ok();
        let Counters { voluntary, involuntary, run_queue_ns } = self.threads(pid);
        Some(ProcessLook {
            pid,
            comm: stat.comm,
            cpu_ns: cpu_ns(pid),
            rss_bytes: read("statm")
                .and_then(|text| parse::resident_pages(&text))
                .map(|n| n * self.page_bytes),
            fds: n_fds(pid),
            threads: u32::try_from(self.threads.get(&pid).map_or(0, |known| known.last.len()))
                .unwrap_or(u32::MAX),
            voluntary,
            involuntary,
            run_queue_ns,
        })
    }

    /// The sums of a process with what its threads have counted since the look before.
    fn threads(&mut self, pid: u32) -> Counters {
        let tasks = procfs::path(pid, "task");
        let known = self.threads.entry(pid).or_default();
        let mut now = HashMap::new();
        let entries = fs::read_dir(&tasks).into_iter().flatten().flatten();
        for (n, entry) in entries.enumerate() {
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if n >= MAX_THREADS {
                // Counted, not looked at.
                now.insert(tid, Counters::default());
                continue;
            }
            let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
            let switches = read("status").and_then(|text| parse::switches(&text));
            let counters = Counters {
                voluntary: switches.map(|(voluntary, _)| voluntary),
                involuntary: switches.map(|(_, involuntary)| involuntary),
                run_queue_ns: read("schedstat").and_then(|text| parse::run_queue_ns(&text)),
            };
            // What a thread had counted before it was first seen is not of this run, unless it began in it.
            let unseen = if known.last.is_empty() { counters } else { Counters::ZERO };
            let before = known.last.get(&tid).copied().unwrap_or(unseen);
            known.sums.add(counters, before);
            now.insert(tid, counters);
        }
        known.last = now;
        known.sums
    }

    fn machine(&self, pid: Option<u32>) -> MachineLook {
        let ticks = fs::read_to_string("/proc/stat").ok().and_then(|text| parse::cpu_ticks(&text));
        let snmp = pid.and_then(|pid| fs::read_to_string(procfs::path(pid, "net/snmp")).ok());
        let segments = snmp.and_then(|text| parse::segments(&text));
        MachineLook {
            cpus: online_cpus(),
            busy_ms: ticks.map(|(busy, _)| busy.saturating_mul(self.tick_ms)),
            total_ms: ticks.map(|(_, total)| total.saturating_mul(self.tick_ms)),
            memory_limit_bytes: self.memory_limit_bytes,
            segments: segments.map(|(all, _)| all),
            retransmits: segments.map(|(_, again)| again),
        }
    }

    fn connections(&mut self, pid: u32, ports: &[u16]) -> Option<u32> {
        let began = Instant::now();
        if self.next_connections.is_some_and(|next| began < next) {
            return None;
        }
        let texts = ["net/tcp", "net/tcp6"].map(|name| fs::read_to_string(procfs::path(pid, name)));
        let count = texts.iter().flatten().map(|text| parse::established(text, ports)).sum();
        self.next_connections = Some(began + began.elapsed() * CONNECTIONS_SHARE);
        Some(count)
    }
}

impl Counters {
    const ZERO: Self = Self { voluntary: Some(0), involuntary: Some(0), run_queue_ns: Some(0) };

    fn add(&mut self, now: Self, before: Self) {
        let grown = |sum: &mut Option<u64>, now: Option<u64>, before: Option<u64>| {
            if let Some(now) = now {
                let more = now.saturating_sub(before.unwrap_or(now));
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        };
        grown(&mut self.voluntary, now.voluntary, before.voluntary);
        grown(&mut self.involuntary, now.involuntary, before.involuntary);
        grown(&mut self.run_queue_ns, now.run_queue_ns, before.run_queue_ns);
    }
}

/// CPU time of a process, all its threads together.
fn cpu_ns(pid: u32) -> Option<u64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    u64::try_from(Duration::from(clock.now().ok()?).as_nanos()).ok()
}

/// The size of the folder is their number since Linux 6.2; before that it is 0, and they are counted.
fn n_fds(pid: u32) -> Option<u32> {
    let folder = procfs::path(pid, "fd");
    let n = match fs::metadata(&folder).ok()?.size() {
        0 => fs::read_dir(&folder).ok()?.count() as u64,
        n => n,
    };
    u32::try_from(n).ok()
}

fn online_cpus() -> u32 {
    let n = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

/// The tightest limit of the process's control group and those above it; else all memory.
fn memory_limit(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(procfs::path(pid, "cgroup")).unwrap_or_default();
    let group = parse::unified_group(&text).unwrap_or("/");
    let mount = Path::new("/sys/fs/cgroup");
    let limits =
        mount.join(group.trim_start_matches('/')).ancestors().map(Path::to_owned).collect::<Vec<_>>();
    let limit = |folder: &Path| parse::limit_bytes(&fs::read_to_string(folder.join("memory.max")).ok()?);
    let tightest =
        limits.iter().filter(|folder| folder.starts_with(mount)).filter_map(|folder| limit(folder)).min();
    let all = parse::total_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    [tightest, all].into_iter().flatten().min()
}
