//! What happened to the processes of the tree.

use serde::{Deserialize, Serialize};

/// See [`super::Event::Fork`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// When.
    pub ts_ns: u64,
    /// The parent process.
    pub pid: u32,
    /// The new process.
    pub child_pid: u32,
}

/// See [`super::Event::Exec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// When.
    pub ts_ns: u64,
    /// Which process.
    pub pid: u32,
    /// Its name from now on, printable.
    pub comm: String,
}

/// See [`super::Event::Exit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub ts_ns: u64,
    /// Which process.
    pub pid: u32,
}
