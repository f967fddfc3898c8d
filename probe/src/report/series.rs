//! Numbers over time, as the report has them.

use super::build::ALL_ENDPOINTS;
use super::model::{LockWaitPoint, Point, Series};
use crate::aggregate::{self, Aggregate, LockWindow, Window};
use crate::event::Summary;
use crate::profile::Percentile;

const NS_PER_S: f64 = 1e9;

/// Windows are cut at the ends of the run, so that the first and the last have true rates.
pub(super) fn of(summary: &Summary, aggregate: &Aggregate) -> Vec<Series> {
    let since_start = |ns: u64| since_start(summary, ns);
    let points = |series: &aggregate::Series| {
        let point = |(begin_ns, window): (u64, &Window)| {
            let (start_s, end_s) =
                (since_start(begin_ns), since_start(begin_ns.saturating_add(series.width_ns())));
            let length_s = end_s - start_s;
            Point {
                start_s,
                end_s,
                requests: window.requests,
                errors: window.errors,
                aborted: window.aborted,
                rate_per_s: if length_s > 0.0 { window.requests as f64 / length_s } else { 0.0 },
                p50_s: window.percentile_ns(Percentile::P50).map(seconds),
                p95_s: window.percentile_ns(Percentile::P95).map(seconds),
            }
        };
        series.windows().map(point).collect()
    };
    let named = aggregate.series();
    named
        .map(|(name, series)| Series {
            endpoint: name.unwrap_or(ALL_ENDPOINTS).to_owned(),
            window_s: seconds(series.width_ns()),
            points: points(series),
        })
        .collect()
}

/// Waits for SQLite's locks; windows are cut as those of the endpoints.
pub(super) fn lock_waits(summary: &Summary, aggregate: &Aggregate) -> Vec<LockWaitPoint> {
    let waits = &aggregate.lock_waits;
    let point = |(begin_ns, window): (u64, LockWindow)| {
        let (start_s, end_s) =
            (since_start(summary, begin_ns), since_start(summary, begin_ns.saturating_add(waits.width_ns())));
        (end_s > start_s).then(|| LockWaitPoint {
            start_s,
            end_s,
            waits: window.ended,
            longest_s: (window.ended > 0).then(|| seconds(window.longest_ns)),
            waiting_ratio: seconds(window.waited_ns) / (end_s - start_s),
        })
    };
    waits.windows().filter_map(point).collect()
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S
}

/// A moment of the run, from its start.
fn since_start(summary: &Summary, ns: u64) -> f64 {
    seconds(ns.clamp(summary.start_ns, summary.end_ns.max(summary.start_ns)) - summary.start_ns)
}
