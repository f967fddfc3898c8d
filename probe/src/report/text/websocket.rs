//! The table of WebSockets.

use super::WIDTH;
use super::format::{bytes, integer, maybe_seconds, plain};
use super::section::table;
use crate::report::model::Report;

/// The WebSockets of each route and phase.
pub(super) fn websockets(report: &Report) -> String {
    if report.websockets.is_empty() {
        return String::new();
    }
    let is_only = report.overall_by_phase.is_empty();
    let name = |route: &str, phase: &str| {
        if is_only { plain(route) } else { format!("{} in {}", plain(route), plain(phase)) }
    };
    let counts = report.websockets.iter().map(|socket| {
        [
            name(&socket.route, &socket.phase),
            integer(socket.connections),
            integer(socket.reconnects),
            integer(socket.messages_in),
            integer(socket.messages_out),
            bytes(socket.bytes_in),
            bytes(socket.bytes_out),
        ]
    });
    let titles = ["WEBSOCKETS", "opened", "again", "messages in", "out", "bytes in", "out"];
    let mut out = table(&titles, counts, WIDTH);
    let times = report.websockets.iter().flat_map(|socket| {
        let name = name(&socket.route, &socket.phase);
        [("reply", &socket.reply_s), ("delivery", &socket.delivery_s), ("ping to pong", &socket.ping_rtt_s)]
            .into_iter()
            .filter(|(_, times)| times.count > 0)
            .map(move |(what, times)| {
                [
                    format!("{name} {what}"),
                    integer(times.count),
                    maybe_seconds(times.p50),
                    maybe_seconds(times.p95),
                    maybe_seconds(times.p99),
                    maybe_seconds(times.max),
                ]
            })
    });
    let times: Vec<_> = times.collect();
    if !times.is_empty() {
        let titles = ["from, to", "times", "p50", "p95", "p99", "max"];
        out += "\n";
        out += &table(&titles, times.into_iter(), WIDTH);
    }
    out
}
