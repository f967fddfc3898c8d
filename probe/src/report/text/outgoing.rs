//! The section on the requests that the target made itself.

use super::WIDTH;
use super::format::{NONE, integer, maybe_seconds, plain, three_digits};
use super::section::table;
use crate::report::model::Report;

/// The numbers of each kind of outgoing request.
pub(super) fn outgoing(report: &Report) -> String {
    if report.outgoing.is_empty() {
        return String::new();
    }
    let rows = report.outgoing.iter().map(|outgoing| {
        [
            plain(&outgoing.endpoint),
            integer(outgoing.requests),
            integer(outgoing.errors),
            integer(outgoing.aborted),
            outgoing.rate_per_s.map_or_else(|| NONE.to_owned(), three_digits),
            maybe_seconds(outgoing.latency_s.p50),
            maybe_seconds(outgoing.latency_s.p95),
            maybe_seconds(outgoing.latency_s.p99),
            maybe_seconds(outgoing.latency_s.max),
        ]
    });
    table(&["OUTGOING CALLS", "requests", "5xx", "abort", "per s", "p50", "p95", "p99", "max"], rows, WIDTH)
}
