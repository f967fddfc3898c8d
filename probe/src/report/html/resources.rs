//! Plots of what the target used.

use maud::{Markup, html};
use plotters::prelude::*;

use super::charts::{key, shade, time};
use super::plot::{Axis, Width, plot, series};
use crate::report::model::{Report, ResourceMoment};
use crate::report::text::format::{bytes, percent, three_digits};

/// Room above the highest point.
const HEADROOM: f64 = 1.12;

/// A line: its name, and its value at a moment.
type Line = (&'static str, fn(&ResourceMoment) -> Option<f64>);

/// CPU, waiting, memory, connections and descriptors over time.
pub(super) fn over_time(report: &Report) -> Option<Markup> {
    const CPU: &[Line] = &[("target", |at| at.cpu_ratio), ("machine", |at| at.machine_cpu_ratio)];
    const WAITING: &[Line] = &[("threads that wait for a CPU", |at| at.run_queue_ratio)];
    const MEMORY: &[Line] = &[("resident", |at| at.rss_bytes.map(|n| n as f64))];
    const OPEN: &[Line] = &[
        ("file descriptors", |at| at.fds.map(|n| n as f64)),
        ("connections", |at| at.connections.map(|n| n as f64)),
    ];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    let size = |value: f64| bytes(value as u64);
    (report.resource_history.len() > 1).then(|| {
        html! {
            section id="resources" {
                h2 { "Resources over time" }
                p.note { "All processes of the target together; of looks that lie close together, the highest." }
                div.grid {
                    (figure(report, "CPU, of all CPUs", CPU, &percent))
                    (figure(report, "Run queue", WAITING, &three_digits))
                    (figure(report, "Memory", MEMORY, &size))
                    (figure(report, "Descriptors and connections", OPEN, &three_digits))
                }
            }
        }
    })
}

fn figure(report: &Report, title: &str, lines: &[Line], label: &dyn Fn(f64) -> String) -> Markup {
    let values = |line: &Line| report.resource_history.iter().filter_map(line.1).collect::<Vec<f64>>();
    let highest = lines.iter().flat_map(values).fold(0.0, f64::max);
    let label = |value: f64| if value == 0.0 { "0".to_owned() } else { label(value) };
    let y = Axis::linear(highest * HEADROOM, &label);
    let said = format!("{title} over time: at most {}", label(highest));
    html! {
        figure {
            figcaption {
                (title) " "
                @for (index, (name, _)) in lines.iter().enumerate() { (key(series(index).0, name)) " " }
            }
            (plot(Width::Half, &said, &time(report), &y, |canvas| {
                shade(canvas, report, y.range.end)?;
                for (index, (_, value)) in lines.iter().enumerate() {
                    let points = report.resource_history.iter().filter_map(|at| Some((at.at_s, value(at)?)));
                    canvas.draw_series(LineSeries::new(points, series(index).1.stroke_width(2)))?;
                }
                Ok(())
            }))
        }
    }
}
