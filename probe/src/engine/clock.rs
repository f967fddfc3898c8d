//! The clocks of a run.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of `bpf_ktime_get_ns`.
pub(super) fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// The wall clock and the clock that counts while the machine is suspended, both as the difference to
/// `CLOCK_MONOTONIC`, seconds.
pub(super) fn offsets_s() -> (f64, f64) {
    let monotonic = monotonic_ns() as f64;
    let off = |clock| (nanoseconds(clock) as f64 - monotonic) / 1e9;
    (off(ClockId::CLOCK_REALTIME), off(ClockId::CLOCK_BOOTTIME))
}

/// CPU time of this process in nanoseconds.
pub(super) fn own_cpu_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn nanoseconds(clock: ClockId) -> u64 {
    // Fails only for clocks that do not exist.
    clock_gettime(clock).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}
