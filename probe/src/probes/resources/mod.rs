//! The resources room: what the traced processes, their disks and their network use, read from `/proc` once a second.
//!
//! It has no kernel half: the kernel counts all of this anyway, and reading it costs the target nothing. A look is some
//! system calls per process and two per thread; see the README for what that is.

mod parse;
mod sampler;
#[cfg(test)]
mod tests;

pub use sampler::{Around, Sampler};

use probe_common::rooms::Rooms;

use super::Spec;

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "resources",
    summary: "CPU, memory, descriptors, threads and waiting of each process; connections, retransmits, disks",
    room: Rooms::RESOURCES,
    needs: Rooms::NONE,
    hooks: &[],
    functions: &[],
};
