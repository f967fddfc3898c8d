//! What is measured of a GPU.

use super::{Quantity, Shape, Unit};

const fn level(name: &'static str, unit: Unit) -> Quantity {
    Quantity { name, shape: Shape::Levels(unit), sample: "reading", higher_is_better: false }
}

const fn value(name: &'static str, unit: Unit, sample: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Value(unit), sample, higher_is_better: false }
}

/// Names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // Share of time in which a kernel ran, by the driver's own samples.
    level("util", Unit::Ratio),
    // The rest of the mean: a GPU that must not wait has a limit on this.
    value("idle", Unit::Ratio, "reading"),
    // Share of time in which its memory was read or written.
    level("memory_util", Unit::Ratio),
    // Memory in use, by all processes, as a share of what it has.
    level("memory", Unit::Ratio),
    level("memory_bytes", Unit::Bytes),
    level("power", Unit::Watts),
    level("temperature", Unit::Celsius),
    // Share of time for which power, heat or the power supply held its clocks down.
    value("throttled", Unit::Ratio, "reading"),
    // Energy by the documents that were finished meanwhile.
    value("energy_per_document", Unit::Joules, "document"),
    // Memory errors that ECC could not correct.
    value("ecc_uncorrected", Unit::Count, "reading"),
    value("nvlink_errors", Unit::Count, "reading"),
];
