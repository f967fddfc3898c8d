//! What a run knows at its end beside its events.

use std::time::SystemTime;

use anyhow::Result;
use probe_common::rooms::Rooms;

use super::{
    clock, disks,
    health::Cost,
    load::{Kernel, Lower},
    pump::Pump,
    record,
    tree::Tree,
};
use crate::{
    event::{BlindSpot, EndedBy, Summary},
    probes::{
        self,
        bytes::Role,
        http::{Undecoded, Why},
    },
    target::{Root, facts},
};

/// What is asked at the beginning of a run, because the target may be gone at its end.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    /// Names the run.
    pub(super) header: record::Header,
    attach_ns: u64,
    disks: disks::Disks,
    /// See [`clock::offsets_s`].
    clocks_s: (f64, f64),
    blind_spots: Vec<BlindSpot>,
    rooms: Rooms,
}

impl Begun {
    pub(super) fn now(start_ns: u64, attach_ns: u64, roots: &[Root], rooms: Rooms) -> Self {
        let pids: Vec<u32> = roots.iter().map(|root| root.pid).collect();
        let facts = facts::gather(&pids);
        let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let (host, kernel) = uname();
        Self {
            header: record::Header {
                run_id: format!("{}-{}", started_at.replace([':', '-'], ""), facts.pid),
                started_at,
                start_ns,
                host,
                kernel,
                target_pid: facts.pid,
                target_cmdline: facts.cmdline.clone(),
                ..record::Header::default()
            },
            attach_ns,
            disks: disks::Disks::now(),
            rooms,
            clocks_s: clock::offsets_s(),
            blind_spots: of_rooms(rooms).chain(of_target(&facts)).collect(),
        }
    }

    /// What the disks had done when the run began.
    pub(super) const fn disks(&self) -> &disks::Disks {
        &self.disks
    }

    /// What turned out during the run not to be seen.
    pub(super) fn blind_to(&mut self, spots: impl IntoIterator<Item = BlindSpot>) {
        self.blind_spots.extend(spots);
    }

    /// These rooms were given up during the run: that little was seen there says nothing.
    pub(super) const fn without(&mut self, rooms: Rooms) {
        self.rooms = self.rooms.without(rooms);
    }

    /// Everything that was counted beside the events.
    pub(super) fn sum(
        self,
        end_ns: u64,
        ended_by: EndedBy,
        cost: &Cost,
        kernel: &Kernel,
        tree: &mut Tree,
        pump: &Pump,
    ) -> Result<Summary> {
        let mut lost: std::collections::BTreeMap<String, u64> =
            kernel.losses()?.into_iter().map(|(cause, count)| (cause.to_owned(), count)).collect();
        lost.extend(
            cost.recursion_misses.iter().map(|(program, count)| (format!("recursion of {program}"), *count)),
        );
        if pump.n_undecodable() > 0 {
            lost.insert("undecodable_record".to_owned(), pump.n_undecodable());
        }
        let listeners = tree.listeners_now();
        let mut blind_spots = self.blind_spots;
        blind_spots.extend(
            pump.streams().undecoded().map(|(role, why, undecoded)| of_connections(role, why, undecoded)),
        );
        let websockets = pump.streams().undecoded_websockets();
        if websockets.conns > 0 {
            blind_spots.push(BlindSpot {
                what: format!(
                    "WebSocket messages: {} connections, {} bytes",
                    websockets.conns, websockets.bytes
                ),
                why: "frames that break the protocol, another protocol, or more at once than is captured"
                    .to_owned(),
                remedy: "look at what the client sends, with a packet capture".to_owned(),
            });
        }
        if pump.streams().n_awaited() > 0 {
            blind_spots.push(BlindSpot {
                what: format!("first requests on connections inside TLS: {}", pump.streams().n_awaited()),
                why: "a thread awaited each of them inside the TLS library at the attach".to_owned(),
                remedy: "attach before the load begins".to_owned(),
            });
        }
        let without = pump.n_without_statements();
        if self.rooms.has(Rooms::SQLITE_STATEMENTS) && without > 0 {
            let processes = if without == 1 { "process" } else { "processes" };
            blind_spots.push(BlindSpot {
                what: format!("SQLite statements of {without} {processes}"),
                why: "they locked databases, but no file of theirs names SQLite's functions".to_owned(),
                remedy: "use a SQLite with symbols; lock waits are seen without".to_owned(),
            });
        }
        if pump.n_cut_names() > 0 {
            blind_spots.push(BlindSpot {
                what: format!("new names of files: {} renames, links and deletions", pump.n_cut_names()),
                why: "their paths are longer than what is looked at of one, 511 bytes".to_owned(),
                remedy: "let the application use relative paths".to_owned(),
            });
        }
        if let Some(error) = &tree.diag_error {
            blind_spots.push(BlindSpot {
                what: "connections dropped because an accept queue was full".to_owned(),
                why: error.clone(),
                remedy: "run as root; entering another network namespace needs CAP_SYS_ADMIN".to_owned(),
            });
        }
        let run_ns = end_ns.saturating_sub(self.header.start_ns).max(1);
        let gpu = pump.gpu();
        let gpu_cpu_ns = gpu.and_then(|gpu| gpu.cpu_ns);
        blind_spots.extend(gpu.iter().flat_map(|gpu| gpu.blind_spots.clone()));
        blind_spots.extend(kernel.quic().into_iter().map(of_quic));
        let header = self.header;
        let (wall_s, boot_s) = clock::offsets_s();
        let suspended_s = boot_s - self.clocks_s.1;
        Ok(Summary {
            clock_step_s: wall_s - self.clocks_s.0 - suspended_s,
            suspended_s,
            start_ns: header.start_ns,
            end_ns,
            run_id: header.run_id,
            started_at: header.started_at,
            host: header.host,
            kernel: header.kernel,
            machine: machine(),
            target_pid: header.target_pid,
            target_cmdline: header.target_cmdline,
            processes: tree.n_processes,
            ended_by,
            events: pump.n_records(),
            lost,
            bpf_cpu_ratio: cost.bpf_cpu_ratio,
            agent_cpu_ratio: cost.agent_cpu_ratio,
            agent_rss_bytes: cost.agent_rss_bytes,
            budget: cost.budget,
            gpu_cpu_ratio: gpu_cpu_ns.map(|cpu_ns| cpu_ns as f64 / run_ns as f64),
            attach_s: self.attach_ns as f64 / 1e9,
            blind_spots,
            // After an upgrade there are no requests that could be missing, and before the attach none that count.
            undecoded_connections: pump
                .streams()
                .undecoded()
                .filter(|(role, why, _)| *role == Role::Server && !matches!(why, Why::Upgraded | Why::Older))
                .map(|(_, _, undecoded)| undecoded.conns)
                .sum::<u64>()
                + websockets.conns,
            listeners,
            syscalls: kernel.syscalls()?,
            files: pump.file_stats()?,
            disks: disks::Disks::now()
                .since(&self.disks, pump.devices(), |disk| kernel.disk_requests(disk))?,
            write_stalls: pump.write_stalls()?,
        })
    }
}

/// Architecture, processors and memory: what makes runs comparable.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    // Whole GiB: kernels of one machine differ in what they keep for themselves.
    let gib = kib.map_or(0, |kib: u64| (kib + (1 << 19)) >> 20);
    format!("{}, {cpus} cpus, {gib} GiB", std::env::consts::ARCH)
}

/// Host name and kernel release; empty where the kernel does not say.
fn uname() -> (String, String) {
    nix::sys::utsname::uname().map_or_else(
        |_| (String::new(), String::new()),
        |system| {
            let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
            (text(system.nodename()), text(system.release()))
        },
    )
}

/// What the user chose not to see.
fn of_rooms(rooms: Rooms) -> impl Iterator<Item = BlindSpot> {
    probes::switchable().filter(move |spec| !rooms.has(spec.room)).map(|spec| BlindSpot {
        what: spec.summary.to_owned(),
        why: format!("the {} probe is off (`--only`, `--skip`)", spec.id),
        remedy: "leave it on".to_owned(),
    })
}

/// What the kernel, this one or this time, leaves to be done without.
pub(super) fn of_rungs(lower: &[Lower]) -> impl Iterator<Item = BlindSpot> {
    lower.iter().map(|Lower { rung, why }| BlindSpot {
        what: rung.unseen.to_owned(),
        why: format!("the kernel takes no program `{}` ({why}); instead, {}", rung.program, rung.instead),
        remedy: "see `probe doctor`".to_owned(),
    })
}

fn of_quic((port, datagrams): (u32, u64)) -> BlindSpot {
    BlindSpot {
        what: format!("QUIC (HTTP/3) requests on UDP port {port}: {datagrams} handshake datagrams"),
        why: "QUIC is encrypted and has no system call per request".to_owned(),
        remedy: "let the client speak HTTP/1.1 over TCP".to_owned(),
    }
}

/// What `/proc` tells about the target that limits what is seen of it.
fn of_target(facts: &facts::Facts) -> Vec<BlindSpot> {
    let mut spots = Vec::new();
    if facts.is_other_pid_ns {
        spots.push(BlindSpot {
            what: "process ids as the target sees them".to_owned(),
            why: "it runs in another pid namespace; ids in this report are those of the host".to_owned(),
            remedy: "none needed; name the target by its host pid".to_owned(),
        });
    }
    if facts.n_io_urings > 0 {
        spots.push(BlindSpot {
            what: format!("traffic through io_uring ({} rings are open)", facts.n_io_urings),
            why: "it makes no system calls; uvloop only batches its epoll registrations there, which hides nothing"
                .to_owned(),
            remedy: "none needed for uvloop; else sysctl kernel.io_uring_disabled=2".to_owned(),
        });
    }
    if !facts.unreadable.is_empty() {
        let pids = facts.unreadable.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        spots.push(BlindSpot {
            what: format!("listeners and libraries of process {pids}"),
            why: "its /proc entries could not be read".to_owned(),
            remedy: "run as root (CAP_SYS_PTRACE)".to_owned(),
        });
    }
    spots
}

/// What was counted on connections but not understood.
fn of_connections(role: Role, why: Why, Undecoded { conns, bytes }: Undecoded) -> BlindSpot {
    let (what, why, remedy) = match why {
        Why::Upgraded => ("bytes after an upgrade", "it is no protocol that is decoded", "none"),
        Why::Tls => (
            "encrypted requests",
            "their TLS library is not OpenSSL, or has no symbols, or was in use before the attach",
            "terminate TLS in front of the server for the test",
        ),
        Why::Http2 => ("HTTP/2 requests", "only HTTP/1.x is decoded", "let the client speak HTTP/1.1"),
        Why::Garbled => (
            "undecodable traffic",
            "the bytes are not HTTP/1.x, or not as their own framing says",
            "look at what the client sends, with a packet capture",
        ),
        Why::Older => (
            "connections older than the attach without a request since",
            "WebSockets or downloads that were under way, or not HTTP/1.x",
            "attach before the load begins",
        ),
        Why::Capacity => (
            "connections beyond what is followed at once",
            "more than 65536 connections, or 16 MiB of unfinished request heads",
            "less load, or several servers",
        ),
    };
    BlindSpot {
        what: match role {
            Role::Server => format!("{what}: {conns} connections, {bytes} bytes"),
            Role::Client => format!("outgoing: {what}: {conns} connections, {bytes} bytes"),
        },
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}
