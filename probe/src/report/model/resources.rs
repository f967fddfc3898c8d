//! What the target used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// What all processes of the target used in a phase. Levels count for as long as they held; they were looked at about once
/// a second.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Resources {
    /// The phase.
    pub phase: String,
    /// How often it was looked.
    pub looks: u64,
    /// CPUs that are online.
    pub cpus: u32,
    /// CPU time as a share of all CPUs.
    pub cpu_ratio: Distribution,
    /// CPU time of everything on the machine as a share of all CPUs.
    pub machine_cpu_ratio: Distribution,
    /// Resident memory; what several processes share counts in each of them.
    pub rss_bytes: Distribution,
    /// At the first look.
    pub rss_start_bytes: Option<u64>,
    /// At the last look.
    pub rss_end_bytes: Option<u64>,
    /// From the first to the last.
    pub rss_growth_ratio: Option<f64>,
    /// What the target may take: the limit of its control group, or all memory.
    pub memory_limit_bytes: Option<u64>,
    /// Open file descriptors.
    pub fds: Distribution,
    /// Threads.
    pub threads: Distribution,
    /// Established connections to its listeners.
    pub connections: Distribution,
    /// Connections that waited for `accept`.
    pub backlog: Distribution,
    /// Context switches.
    pub switches_per_s: Distribution,
    /// Of these, those that the scheduler forced.
    pub involuntary_per_s: Distribution,
    /// Time that threads could have run and waited for a CPU, per time: 1 is one thread that always waits.
    pub run_queue_ratio: Distribution,
    /// TCP segments sent in the target's network namespace.
    pub segments: u64,
    /// Of these, sent again.
    pub retransmits: u64,
    /// Each process, by id.
    pub processes: Vec<ProcessResources>,
    /// The disks on which it wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskResources>,
}

/// What one process used.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ProcessResources {
    /// Its name, up to 15 bytes.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// CPU time as a share of one core.
    pub cpu_ratio: Distribution,
    /// Resident memory.
    pub rss_bytes: Distribution,
    /// From the first look to the last.
    pub rss_growth_ratio: Option<f64>,
    /// Open file descriptors.
    pub fds: Distribution,
    /// Threads.
    pub threads: Distribution,
    /// Context switches.
    pub switches_per_s: Distribution,
    /// See [`Resources::run_queue_ratio`].
    pub run_queue_ratio: Distribution,
}

/// How busy a disk was.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct DiskResources {
    /// Its name.
    pub device: String,
    /// Share of time in which it had something to do.
    pub busy_ratio: Distribution,
}

/// What the target used at a moment; of moments that lie close together, the highest.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ResourceMoment {
    /// From the start of the run.
    pub at_s: f64,
    /// Of the target, of all CPUs.
    pub cpu_ratio: Option<f64>,
    /// Of the machine.
    pub machine_cpu_ratio: Option<f64>,
    /// See [`Resources::run_queue_ratio`].
    pub run_queue_ratio: Option<f64>,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Open file descriptors.
    pub fds: Option<u64>,
    /// Established connections.
    pub connections: Option<u64>,
}
