//! Loads the kernel object, attaches its programs, and owns everything that lives in the kernel.
//!
//! Programs are attached through links whose file descriptors this process holds: when it ends, in any
//! way, the kernel detaches and frees them.

mod functions;
mod hooks;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues, ProgramArray, RingBuf},
    programs::{ProgramError, ProgramFd, uprobe::UProbeLinkId},
    util::nr_cpus,
};
use probe_common::{
    constants::Constants, kern::KernOffsets, loss::LossCause, rooms::Rooms, socket::OpStats, sqlite::Inside,
    turns::Turns,
};

use super::{
    blocks::BlockMaps, direct_reads::DirectReads, disks::Disks, files::FileMaps, kern, object,
    threads::Threads, tracepoints::Tracepoints, undisturbed::Undisturbed,
};
use crate::{
    event::{DiskRequests, Sample, SyscallStats},
    probes::{
        rungs::{Fallback, RAW_TRACEPOINTS},
        socket,
    },
};
pub use hooks::{HookResult, Verified};

/// What can be set before the object is loaded.
#[derive(Debug)]
pub struct LoadConfig<'a> {
    /// The kernel's type information.
    pub btf: &'a Path,
    /// Size of the ring in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Trace processes that the traced ones create.
    pub follow_children: bool,
    /// The rooms that are on.
    pub rooms: Rooms,
    /// Programs that are taken for refused, so that the rung below them is tried.
    pub without: &'a [String],
}

/// A hook that a run does without.
#[derive(Clone, Debug)]
pub struct Lower {
    /// The rung that was taken instead.
    pub rung: &'static Fallback,
    /// The kernel's words.
    pub why: String,
}

/// What is known of the running kernel before anything is loaded.
struct Known {
    offsets: KernOffsets,
    reads: DirectReads,
    tracepoints: Tracepoints,
}

impl Known {
    fn of(config: &LoadConfig<'_>) -> Result<Self> {
        let btf = kern::open(config.btf)?;
        let offsets = kern::offsets(&btf)?;
        Ok(Self {
            offsets,
            reads: DirectReads::find(&btf, config.without),
            tracepoints: Tracepoints::best(&offsets, config.without),
        })
    }
}

/// The loaded kernel side. Dropping it detaches and frees everything.
pub struct Kernel {
    #[cfg(feature = "kernel-log")]
    logger: aya_log::EbpfLogger<&'static dyn log::Log>,
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    ring_bytes: usize,
    threads: Threads,
    ports: Array<MapData, u64>,
    unix_used: Array<MapData, u32>,
    unix_inodes: HashMap<MapData, u64, u32>,
    quic: HashMap<MapData, u32, u64>,
    losses: PerCpuArray<MapData, u64>,
    op_stats: PerCpuArray<MapData, OpStats>,
    sample: Array<MapData, u32>,
    state_turns: PerCpuArray<MapData, Turns>,
    /// Threads inside SQLite.
    sqlite_inside: HashMap<MapData, u32, Inside>,
    /// Probes on functions, by their programs.
    on_functions: Vec<(String, UProbeLinkId)>,
    files: Option<FileMaps>,
    blocks: BlockMaps,
    /// Keeps the programs that others hand on to.
    tails: ProgramArray<MapData>,
    rooms: Rooms,
    reads: DirectReads,
    tracepoints: Tracepoints,
    undisturbed: Undisturbed,
}

impl Kernel {
    /// Loads the object. Nothing runs yet.
    pub(super) fn load(config: &LoadConfig<'_>) -> Result<Self> {
        Self::load_knowing(&Known::of(config)?, config, &[])
    }

    fn load_knowing(known: &Known, config: &LoadConfig<'_>, lower: &[Lower]) -> Result<Self> {
        if object::OBJECT.is_empty() {
            bail!("failed to load the kernel side: this binary was built without it (PROBE_SKIP_EBPF)");
        }
        let is_refused = lower.iter().any(|lower| lower.rung == &RAW_TRACEPOINTS);
        let tracepoints = if is_refused { Tracepoints::Raw } else { known.tracepoints };
        let own = known.reads.missing().with(tracepoints.missing());
        let missing = lower.iter().fold(own, |all, lower| all.with(lower.rung.missing));
        let constants = Constants {
            kern: known.offsets,
            rooms: config.rooms,
            missing,
            follow_children: u32::from(config.follow_children),
        };
        let mut ebpf = EbpfLoader::new()
            // The programs have no CO-RE relocations: parsing the kernel's types again would only cost time.
            .btf(None)
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries("EVENTS", config.ring_bytes)
            .load(&object::completed(known.reads, tracepoints, &constants))
            .context("failed to load the kernel side; see `probe doctor`")?;
        let undisturbed = Undisturbed::with(tracepoints);
        Ok(Self {
            #[cfg(feature = "kernel-log")]
            logger: aya_log::EbpfLogger::init(&mut ebpf).context("failed to open the kernel side's log")?,
            ring: take(&mut ebpf, "EVENTS")?,
            ring_bytes: config.ring_bytes as usize,
            threads: Threads::take(&mut ebpf)?,
            ports: take(&mut ebpf, "LISTEN_PORTS")?,
            unix_used: take(&mut ebpf, "UNIX_USED")?,
            unix_inodes: take(&mut ebpf, "UNIX_INODES")?,
            quic: take(&mut ebpf, "QUIC")?,
            losses: take(&mut ebpf, "LOSS")?,
            op_stats: take(&mut ebpf, "OP_STATS")?,
            sample: take(&mut ebpf, "SAMPLE")?,
            state_turns: take(&mut ebpf, "STATE_TURNS")?,
            sqlite_inside: take(&mut ebpf, "SQLITE_INSIDE")?,
            on_functions: Vec::new(),
            tails: take(&mut ebpf, "FILE_IO_TAILS")?,
            files: Some(FileMaps::take(&mut ebpf, undisturbed)?),
            blocks: BlockMaps::take(&mut ebpf)?,
            rooms: config.rooms,
            reads: known.reads,
            tracepoints,
            undisturbed,
            ebpf,
        })
    }

    /// Follows these connections only, from now on.
    pub(super) fn keep(&mut self, sample: Sample) -> Result<()> {
        self.undisturbed
            .call(|| self.sample.set(0, sample.mask(), 0))
            .context("failed to tell the kernel side the sample")
    }

    /// Traces a thread that exists already. It may be inside any system call.
    pub fn trace_thread(&mut self, pid: u32, tid: u32) -> Result<()> {
        self.undisturbed
            .call(|| self.threads.add(pid, tid))
            .with_context(|| format!("failed to trace thread {tid} of process {pid}"))
    }

    /// Stops tracing a thread; it may be gone already.
    pub fn forget_thread(&mut self, tid: u32) {
        self.undisturbed.call(|| self.threads.remove(tid));
    }

    /// Treats connections to this local port as the target's.
    pub fn listen(&mut self, port: u16) -> Result<()> {
        let word = u32::from(port >> 6);
        let ports = self.ports.get(&word, 0).context("failed to read the port table")?;
        self.ports
            .set(word, ports | 1 << (port & 63), 0)
            .with_context(|| format!("failed to note port {port}"))
    }

    /// Treats connections to these Unix-domain listeners, named by their sockets' inodes, as the target's.
    pub fn listen_unix(&mut self, inodes: &[u64]) -> Result<()> {
        for inode in inodes {
            self.unix_inodes
                .insert(inode, 1, 0)
                .with_context(|| format!("failed to note the Unix-domain listener `socket:[{inode}]`"))?;
        }
        if inodes.is_empty() {
            Ok(())
        } else {
            self.unix_used.set(0, 1, 0).context("failed to note a listener")
        }
    }

    /// QUIC handshake datagrams that the tree received, by local UDP port.
    pub fn quic(&self) -> Vec<(u32, u64)> {
        // Read at the end, while nobody of ours removes anything: an error can only mean that there is no more.
        let mut ports: Vec<_> = self.quic.iter().filter_map(std::result::Result::ok).collect();
        ports.sort_unstable();
        ports
    }

    /// Reads the records that are in the ring now, at most one ring's worth: whoever fills it faster than it is read
    /// must not keep the run from its other duties.
    pub fn drain(&mut self, mut record: impl FnMut(&[u8])) {
        #[cfg(feature = "kernel-log")]
        self.logger.flush();
        let mut left = self.ring_bytes;
        while left > 0
            && let Some(item) = self.ring.next()
        {
            left = left.saturating_sub(item.len());
            record(&item);
        }
    }

    /// What the kernel side lost so far, by cause; only causes that happened.
    pub fn losses(&self) -> Result<Vec<(&'static str, u64)>> {
        let mut losses = Vec::new();
        for (index, cause) in (0u32..).zip(LossCause::ALL) {
            let count: u64 = self
                .undisturbed
                .call(|| self.losses.get(&index, 0))
                .context("failed to read the loss counters")?
                .iter()
                .sum();
            if count > 0 {
                losses.push((cause.id(), count));
            }
        }
        Ok(losses)
    }

    /// Forgets what the first program at the states of sockets was called for before the second was there.
    fn begin_turns(&mut self) -> Result<()> {
        let n_cpus =
            nr_cpus().map_err(|(path, error)| anyhow!(error).context(format!("failed to read {path}")))?;
        let of_cpus = PerCpuValues::try_from(vec![Turns::default(); n_cpus])?;
        self.undisturbed.call(|| self.state_turns.set(0, of_cpus, 0)).context("failed to begin the turns")
    }

    /// Of how many events the first program at the states of sockets was left out, and the second told.
    pub(super) fn n_taken(&self) -> Result<u64> {
        let turns = self.undisturbed.call(|| self.state_turns.get(&0, 0));
        Ok(turns.context("failed to read whose turn it was")?.iter().map(Turns::n_taken).sum())
    }

    /// The tables of files, once: whoever drains the ring needs them meanwhile.
    pub(super) fn take_files(&mut self) -> Result<FileMaps> {
        self.files.take().context("failed to take the tables of files: somebody has them")
    }

    /// Counts the requests of these disks from now on.
    pub(super) fn watch_disks(&mut self, disks: &Disks) -> Result<()> {
        self.blocks.watch(disks.busiest())
    }

    /// What the requests of a disk were so far.
    pub(super) fn disk_requests(&self, disk: u32) -> Result<Vec<DiskRequests>> {
        self.blocks.requests(disk)
    }

    /// The call statistics so far.
    pub fn syscalls(&self) -> Result<Vec<SyscallStats>> {
        socket::summarize(|index| self.op_stats.get(&index, 0).map(|cpus| cpus.to_vec()))
            .context("failed to read the call statistics")
    }

    /// Whether the programs read kernel memory by plain instructions.
    pub(super) const fn reads_directly(&self) -> bool {
        self.reads.0.is_some()
    }

    /// The loaded programs' names and file descriptors.
    pub fn program_fds(&self) -> impl Iterator<Item = (&str, &ProgramFd)> {
        self.ebpf.programs().filter_map(|(name, program)| Some((name, program.fd().ok()?)))
    }
}

/// Takes a map out of the object under its type.
pub(super) fn take<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<M> {
    let map = ebpf.take_map(name).ok_or_else(|| anyhow!("the kernel object has no map `{name}`"))?;
    M::try_from(map).with_context(|| format!("failed to open the kernel map `{name}`"))
}

/// Keeps the last lines of the verifier's log: they say what it refused.
fn verifier_says(error: ProgramError) -> anyhow::Error {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let lines: Vec<_> = log.lines().rev().take(6).collect();
            let tail: Vec<_> = lines.into_iter().rev().collect();
            anyhow!("the kernel refused the program: {io_error}: {}", tail.join(" | "))
        }
        other => other.into(),
    }
}
