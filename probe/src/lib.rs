//! Data flow, one way:
//!
//! ```text
//! kernel program → ring → engine/pump → probes/N/decode → event → correlate → aggregate → slo → report
//!                                                           └── engine/record (taps here, replays from here)
//! ```
//!
//! Everything right of [`event`] is pure: it runs from a recording without root.

pub mod aggregate;
pub mod correlate;
pub mod event;
pub mod probes;
pub mod profile;
pub mod slo;
