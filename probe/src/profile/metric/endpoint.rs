//! What is measured of an endpoint, and of all requests together.

use super::{Quantity, Shape, Unit};

const fn duration(name: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Durations, sample: "request", higher_is_better: false }
}

const fn share(name: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Share, sample: "request", higher_is_better: false }
}

/// Durations in the order of time, then shares and numbers; names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // Of answered requests (status below 500).
    duration("latency"),
    // Of failed requests (5xx).
    duration("failed_latency"),
    // Waited for the application to accept the connection.
    duration("accept_queue"),
    // Waited in the socket for the application to read.
    duration("receive_queue"),
    // Reading the request.
    duration("read"),
    // In the application.
    duration("app"),
    // Writing the response.
    duration("write"),
    // From the last byte sent to its acknowledgement.
    duration("delivery"),
    // Answers with 5xx among all answers.
    share("error_rate"),
    // Answers with 4xx among all answers.
    share("status_4xx_rate"),
    // Requests whose connection ended before a full answer, among those that were answered or so ended.
    share("aborted_rate"),
    // Answers below 500 among all requests that were answered or aborted. What an application refuses with 4xx (a
    // corrupt upload, an edit conflict) it has served well.
    Quantity { higher_is_better: true, ..share("success_rate") },
    // Answers per second of the run.
    Quantity { name: "rate", shape: Shape::Rate, sample: "request", higher_is_better: true },
    // Answers.
    Quantity {
        name: "requests",
        shape: Shape::Value(Unit::Count),
        sample: "request",
        higher_is_better: true,
    },
];
