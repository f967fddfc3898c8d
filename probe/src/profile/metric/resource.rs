//! What is measured of the target's resources: of all its processes (`target`), of each (`process NAME PID`), of the
//! `machine`, and of each `disk NAME`. What a subject does not have is no data.

use super::{Quantity, Shape, Unit};

const fn level(name: &'static str, unit: Unit) -> Quantity {
    Quantity { name, shape: Shape::Levels(unit), sample: "look", higher_is_better: false }
}

/// Names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // CPU time: of a process as a share of one core, of target and machine of all cores.
    level("cpu", Unit::Ratio),
    // Resident memory.
    level("rss", Unit::Bytes),
    // Resident memory as a share of what the target may take.
    level("memory", Unit::Ratio),
    // Resident memory at the last look against the first; below 0 where it shrank.
    Quantity {
        name: "rss_growth",
        shape: Shape::Value(Unit::Ratio),
        sample: "look",
        higher_is_better: false,
    },
    level("fds", Unit::Count),
    level("threads", Unit::Count),
    // Established connections to the target's listeners.
    level("connections", Unit::Count),
    // Connections that wait for `accept`.
    level("backlog", Unit::Count),
    // Context switches.
    level("switches", Unit::PerSecond),
    // Those that the scheduler forced.
    level("involuntary_switches", Unit::PerSecond),
    // Time that threads could have run and waited for a CPU, per time.
    level("run_queue", Unit::Ratio),
    // Share of time in which a disk had something to do.
    level("busy", Unit::Ratio),
    // TCP segments sent again among all sent, in the target's network namespace.
    Quantity { name: "retransmit_rate", shape: Shape::Share, sample: "segment", higher_is_better: false },
];
