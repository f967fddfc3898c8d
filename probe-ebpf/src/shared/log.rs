//! Prints for work on the kernel programs: compiled in by the feature `kernel-log` alone, because each one costs a ring
//! record and many instructions for the verifier.

/// `log!(ctx, "format {}", value)`, seen in probe's own log at debug level.
#[cfg(feature = "kernel-log")]
macro_rules! log {
    ($($arguments:tt)*) => { ::aya_log_ebpf::debug!($($arguments)*) };
}

/// Nothing, in all other builds.
#[cfg(not(feature = "kernel-log"))]
macro_rules! log {
    ($($arguments:tt)*) => {};
}

pub(crate) use log;
