//! The gpu room: what the driver of NVIDIA's GPUs (NVML) says, read at an interval on a thread of its own.
//!
//! It has no kernel half. The driver is asked, never set. No call of it may hold up a run, so whatever it does
//! (not there, slow, a call that never returns, a GPU that falls off the bus) ends in fewer events and in one
//! line of [`Ended::blind_spots`].

mod fault;
mod gaps;
mod look;
mod owners;
mod sampler;
mod survey;
mod times;

pub use owners::{Owners, inner_pid};
pub use sampler::{Config, Ended, Sampler};
pub use survey::{Survey, SurveyedGpu, survey};

use probe_common::rooms::Rooms;

use super::Spec;

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "gpu",
    summary: "NVIDIA GPUs: utilisation, memory, power, throttling, and who uses them",
    room: Rooms::GPU,
    needs: Rooms::NONE,
    hooks: &[],
    functions: &[],
};
