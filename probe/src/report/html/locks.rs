//! Plots of waits for locks of SQLite.

use maud::{Markup, html};
use plotters::prelude::*;

use super::charts::{shade, time};
use super::plot::{Axis, Width, plot, series};
use crate::report::model::{LockWaitPoint, Report};
use crate::report::text::format::{seconds, three_digits};

/// Room above the highest point.
const HEADROOM: f64 = 1.12;

/// How long the longest wait was, and how many threads waited, over time.
pub(super) fn over_time(report: &Report) -> Option<Markup> {
    (!report.lock_waits.is_empty()).then(|| {
        html! {
            section id="locks" {
                h2 { "Waits for SQLite's locks over time" }
                p.note { "All databases together; who held them stands in the tables." }
                div.grid {
                    (figure(report, "Longest wait that ended", |at| at.longest_s.unwrap_or(0.0), &seconds))
                    (figure(report, "Threads that wait, on average", |at| at.waiting_ratio, &three_digits))
                }
            }
        }
    })
}

fn figure(
    report: &Report,
    title: &str,
    value: fn(&LockWaitPoint) -> f64,
    label: &dyn Fn(f64) -> String,
) -> Markup {
    let highest = report.lock_waits.iter().map(value).fold(0.0, f64::max);
    let label = |value: f64| if value == 0.0 { "0".to_owned() } else { label(value) };
    let y = Axis::linear(highest * HEADROOM, &label);
    let said = format!("{title} over time: at most {}", label(highest));
    html! {
        figure {
            figcaption { (title) }
            (plot(Width::Half, &said, &time(report), &y, |canvas| {
                shade(canvas, report, y.range.end)?;
                let bar = |at: &LockWaitPoint| {
                    Rectangle::new([(at.start_s, 0.0), (at.end_s, value(at))], series(0).1.filled())
                };
                canvas.draw_series(report.lock_waits.iter().map(bar))?;
                Ok(())
            }))
        }
    }
}
