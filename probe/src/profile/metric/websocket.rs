//! What is measured of the WebSockets of a route.

use super::{Quantity, Shape, Unit};

const fn duration(name: &'static str, sample: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Durations, sample, higher_is_better: false }
}

/// Names and meaning as in the report.
pub(super) const QUANTITIES: &[Quantity] = &[
    // From the last byte of a message sent to its acknowledgement by the client.
    duration("delivery", "message"),
    // From a ping sent to its pong readable.
    duration("ping_rtt", "ping"),
    // From a client's message readable to the server's next message sent.
    duration("reply", "message"),
    // Messages per second.
    Quantity { name: "message_in_rate", shape: Shape::Rate, sample: "connection", higher_is_better: true },
    Quantity { name: "message_out_rate", shape: Shape::Rate, sample: "connection", higher_is_better: true },
    // Opened.
    Quantity {
        name: "connections",
        shape: Shape::Value(Unit::Count),
        sample: "connection",
        higher_is_better: true,
    },
    // Opened in the place of one that had ended without a close frame.
    Quantity {
        name: "reconnects",
        shape: Shape::Value(Unit::Count),
        sample: "connection",
        higher_is_better: false,
    },
];
