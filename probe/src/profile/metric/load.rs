//! What is measured of the load generator that a run starts itself.

use super::{Quantity, Shape, Unit};

/// Names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // The most that one of its threads used of a core over a second: near 1 it cannot ask any faster.
    Quantity {
        name: "busiest_thread",
        shape: Shape::Value(Unit::Ratio),
        sample: "load command",
        higher_is_better: false,
    },
];
