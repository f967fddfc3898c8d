//! What is measured of the requests that the target makes itself.

use super::{Quantity, Shape, Unit};

const fn duration(name: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Durations, sample: "call", higher_is_better: false }
}

const fn share(name: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Share, sample: "call", higher_is_better: false }
}

/// Names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // From the first byte of the request sent to the last byte of the answer read, of answers below 500.
    duration("latency"),
    // The same of answers with 5xx.
    duration("failed_latency"),
    // Sending the request.
    duration("send"),
    // From there to the first byte of the answer.
    duration("wait"),
    // Reading the answer.
    duration("receive"),
    // Whatever was no answer below 500, among all calls that ended: 5xx, broken off, not even connected.
    share("error_rate"),
    // Of these, the calls without a whole answer.
    share("aborted_rate"),
    // All the others.
    Quantity { higher_is_better: true, ..share("success_rate") },
    // Answers per second of the run.
    Quantity { name: "rate", shape: Shape::Rate, sample: "call", higher_is_better: true },
    // Answers.
    Quantity { name: "requests", shape: Shape::Value(Unit::Count), sample: "call", higher_is_better: true },
];
