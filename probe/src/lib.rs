//! Data flow, one way:
//!
//! ```text
//! kernel program → ring → engine/pump → probes/N/decode → event → correlate → aggregate → slo → report
//!                                                           └── engine/record (taps here, replays from here)
//! ```
//!
//! Everything right of [`event`] is pure: it runs from a recording without root.

pub mod aggregate;
pub mod analysis;
pub mod cli;
pub mod correlate;
pub mod engine;
pub mod event;
pub mod host;
pub mod inject;
pub mod numbers;
pub mod probes;
pub mod profile;
pub mod readiness;
pub mod report;
pub mod slo;
pub mod target;
