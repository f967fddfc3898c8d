//! From the numbers of the requests that the target made to their part of the report.

use super::build::{Span, statuses};
use super::model::{Distribution, Outgoing};

/// Each kind of call of a phase. What the aggregate calls read, app and write is, seen from the side that asks,
/// sending the request, waiting, and reading the answer.
pub(super) fn calls<'a>(span: &'a Span<'a>) -> impl Iterator<Item = Outgoing> + 'a {
    span.numbers.outgoing().endpoints().into_iter().map(|(name, stats)| Outgoing {
        endpoint: name.to_owned(),
        phase: span.phase.name.clone(),
        requests: stats.requests,
        errors: stats.errors,
        aborted: stats.aborted,
        in_flight: stats.in_flight,
        statuses: statuses(stats),
        rate_per_s: (span.duration_s > 0.0).then(|| stats.requests as f64 / span.duration_s),
        latency_s: Distribution::from(&stats.latency),
        failed_latency_s: Distribution::from(&stats.failed_latency),
        send_s: Distribution::from(&stats.read),
        wait_s: Distribution::from(&stats.app),
        receive_s: Distribution::from(&stats.write),
        bytes_out: stats.bytes_in,
        bytes_in: stats.bytes_out,
    })
}
