//! Plots of what GPUs did.

use maud::{Markup, html};
use plotters::prelude::*;

use super::charts::{shade, time};
use super::plot::{Axis, Width, plot, series};
use super::visible;
use crate::report::model::{GpuHistory, GpuPoint, Report};
use crate::report::text::format::{bytes, percent, three_digits};

/// Room above the highest point.
const HEADROOM: f64 = 1.12;
/// GPUs that get plots of their own; the table has all.
const MAX_GPUS: usize = 8;

/// Utilisation, memory and power over time, for each GPU.
pub(super) fn over_time(report: &Report) -> Option<Markup> {
    let gpus: Vec<&GpuHistory> = report.gpu_history.iter().take(MAX_GPUS).collect();
    let name = |index: u32| {
        let of_gpu = report.gpu.iter().find(|gpu| gpu.index == index);
        of_gpu.and_then(|gpu| gpu.name.clone()).unwrap_or_else(|| "GPU".to_owned())
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    let size = |value: f64| bytes(value as u64);
    let watts = |value: f64| format!("{} W", three_digits(value));
    (!gpus.is_empty()).then(|| {
        html! {
            section id="gpus" {
                h2 { "GPUs over time" }
                p.note { "Means of utilisation and power over each piece of time, and the most memory in it." }
                @for gpu in gpus {
                    h3 { (visible(&name(gpu.index))) ", " (gpu.index) }
                    div.grid {
                        (figure(report, gpu, "Utilisation", |at| at.util, &percent))
                        (figure(report, gpu, "Memory", |at| at.memory_bytes.map(|n| n as f64), &size))
                        (figure(report, gpu, "Power", |at| at.power_w, &watts))
                    }
                }
            }
        }
    })
}

fn figure(
    report: &Report,
    gpu: &GpuHistory,
    title: &str,
    value: impl Fn(&GpuPoint) -> Option<f64>,
    label: &dyn Fn(f64) -> String,
) -> Markup {
    let points: Vec<(f64, f64)> = gpu
        .points
        .iter()
        .filter_map(|at| value(at).map(|value| [(at.start_s, value), (at.end_s, value)]))
        .flatten()
        .collect();
    let highest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let label = |value: f64| if value == 0.0 { "0".to_owned() } else { label(value) };
    let y = Axis::linear(highest * HEADROOM, &label);
    let said = format!("{title} over time: at most {}", label(highest));
    html! {
        @if !points.is_empty() {
            figure {
                figcaption { (title) }
                (plot(Width::Half, &said, &time(report), &y, |canvas| {
                    shade(canvas, report, y.range.end)?;
                    canvas.draw_series(LineSeries::new(points.iter().copied(), series(2).1.stroke_width(2)))?;
                    Ok(())
                }))
            }
        }
    }
}
