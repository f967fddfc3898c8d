//! What the processes of the target and the machine below them used, looked at about once a second.
//!
//! Counters are as the kernel keeps them, since whenever it began to count: what happened is the difference of two looks.
//! What could not be read is none.

use serde::{Deserialize, Serialize};

/// See [`super::Event::Resources`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// When.
    pub ts_ns: u64,
    /// The processes of the tree that there were.
    pub processes: Vec<ProcessLook>,
    /// The machine.
    #[serde(default)]
    pub machine: MachineLook,
    /// Established connections of the tree's listeners; only in looks that counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Connections that waited for `accept`, at all listeners of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// The disks on which the tree had written by then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskLook>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLook {
    /// Its id.
    pub pid: u32,
    /// Its name, up to 15 bytes.
    pub comm: String,
    /// CPU time of all its threads, those that ended included, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// Resident memory, bytes; what several processes share counts in each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Open file descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fds: Option<u32>,
    /// Threads.
    pub threads: u32,
    /// Times that its threads gave up their CPU by themselves, since they were first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voluntary: Option<u64>,
    /// Times that the scheduler took it from them, since they were first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involuntary: Option<u64>,
    /// Time that its threads could have run and waited for a CPU, since they were first looked at, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_queue_ns: Option<u64>,
}

/// The machine, and the network namespace of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLook {
    /// CPUs that are online.
    pub cpus: u32,
    /// Time of all CPUs together that was not idle, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_ms: Option<u64>,
    /// Time of all CPUs together, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
    /// What the tree may take: the limit of its control group, or all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// TCP segments sent in the network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<u64>,
    /// Of these, sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLook {
    /// Its name.
    pub device: String,
    /// Time with at least one request, milliseconds.
    pub busy_ms: u64,
}
