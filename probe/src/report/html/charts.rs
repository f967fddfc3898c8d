//! What the plots of the page show.

use maud::{Markup, html};
use plotters::prelude::*;

use super::plot::{Axis, Canvas, Drawn, N_SERIES, Width, colour, plot, series};
use super::visible;
use crate::report::model::{Distribution, Endpoint, Report, Series};
use crate::report::text::format::{condition, seconds, shorten, three_digits};

/// Endpoints that get a plot of their own; the table has all.
const MAX_PLOTS: usize = 12;
/// Room above the highest point.
const HEADROOM: f64 = 1.12;

/// Latency, throughput and errors of all endpoints together, then the latency of each.
pub(super) fn over_time(report: &Report) -> Option<Markup> {
    let overall = report.series.first().filter(|series| series.points.len() > 1)?;
    let mut each: Vec<&Series> = report.series.iter().skip(1).collect();
    let requests = |series: &Series| series.points.iter().map(|point| point.requests).sum::<u64>();
    each.sort_by_key(|series| std::cmp::Reverse(requests(series)));
    let left_out = each.len().saturating_sub(MAX_PLOTS);
    Some(html! {
        section id="time" {
            h2 { "Over time" }
            h3 { "Latency, all endpoints" }
            (legend(&["p95", "p50"]))
            (latency(report, overall, Width::Full))
            h3 { "Answers per second" }
            p.legend { (key("c2", "answers")) " " (key("bad", "of these, 5xx")) (phase_keys(report)) }
            (throughput(report, overall))
            @if each.len() > 1 {
                h3 { "Latency of each endpoint" }
                (legend(&["p95", "p50"]))
                div.grid {
                    @for series in each.iter().take(MAX_PLOTS) {
                        figure {
                            figcaption { (visible(&series.endpoint)) }
                            (latency(report, series, Width::Half))
                        }
                    }
                }
                @if left_out > 0 {
                    p.note { "The " (MAX_PLOTS) " endpoints with the most requests; " (left_out) " more stand in the table." }
                }
            }
        }
    })
}

fn legend(names: &[&str]) -> Markup {
    html! { p.legend { @for (index, name) in names.iter().enumerate() { (key(series(index).0, name)) " " } } }
}

pub(super) fn key(colour: &str, name: &str) -> Markup {
    html! { span.key { span.swatch style={ "background:var(--" (colour) ")" } {} (name) } }
}

fn phase_keys(report: &Report) -> Markup {
    html! {
        @if report.phases.len() > 1 { " " (key("shade", "phases, every second one shaded")) }
        @if report.phases.iter().any(|phase| phase.net.is_some()) { " " (key("tint", "under a network condition")) }
    }
}

fn latency(report: &Report, series: &Series, width: Width) -> Markup {
    let highest = series.points.iter().filter_map(|point| point.p95_s).fold(0.0, f64::max);
    let y = Axis::linear(highest * HEADROOM, &seconds);
    let title = format!("latency over time of {}: at most {}", series.endpoint, seconds(highest));
    plot(width, &title, &time(report), &y, |canvas| {
        shade(canvas, report, highest * HEADROOM)?;
        line(canvas, series, 1, |at| at.p50_s)?;
        line(canvas, series, 0, |at| at.p95_s)
    })
}

fn throughput(report: &Report, series: &Series) -> Markup {
    let highest = series.points.iter().map(|point| point.rate_per_s).fold(0.0, f64::max);
    let label = |value: f64| if value == 0.0 { "0".to_owned() } else { three_digits(value) };
    let y = Axis::linear(highest * HEADROOM, &label);
    let title = format!("answers per second over time: at most {}", three_digits(highest));
    plot(Width::Full, &title, &time(report), &y, |canvas| {
        shade(canvas, report, highest * HEADROOM)?;
        let bar = |from: f64, to: f64, rate: f64, colour: RGBColor| {
            Rectangle::new([(from, 0.0), (to, rate)], colour.filled())
        };
        canvas.draw_series(
            series.points.iter().map(|at| bar(at.start_s, at.end_s, at.rate_per_s, colour("c2"))),
        )?;
        let failed = series.points.iter().filter(|at| at.errors > 0);
        canvas.draw_series(failed.map(|at| {
            let share = at.errors as f64 / at.requests.max(1) as f64;
            bar(at.start_s, at.end_s, at.rate_per_s * share, colour("bad"))
        }))?;
        Ok(())
    })
}

pub(super) fn time(report: &Report) -> Axis<'static> {
    Axis::linear(report.run.duration_s, &|value| {
        if value == 0.0 { "0".to_owned() } else { format!("{value} s") }
    })
}

/// Width of a letter of a phase's name, pixels.
const LETTER: f64 = 6.6;

/// Every second phase, and each that was made under a network condition, with its name as far as there is room.
pub(super) fn shade(canvas: &mut Canvas<'_, '_>, report: &Report, top: f64) -> Drawn {
    let phases = &report.phases;
    if phases.len() < 2 && phases.iter().all(|phase| phase.net.is_none()) {
        return Ok(());
    }
    let top = if top > 0.0 { top } else { 1.0 };
    for (index, phase) in phases.iter().enumerate() {
        let fill = match (&phase.net, index % 2) {
            (Some(_), _) => colour("tint"),
            (None, 1) => colour("shade"),
            _ => continue,
        };
        let corners = [(phase.start_s, 0.0), (phase.end_s, top)];
        canvas.draw_series([Rectangle::new(corners, fill.filled())])?;
    }
    let letters = ("sans-serif", 12).into_font().color(&colour("muted"));
    let per_s = f64::from(canvas.plotting_area().dim_in_pixel().0) / report.run.duration_s.max(1e-9);
    canvas.draw_series(phases.iter().filter_map(|phase| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "letters on a page")]
        let room = ((phase.end_s - phase.start_s) * per_s / LETTER) as usize;
        let net = phase.net.as_deref().map(|net| format!(": {}", condition(net))).unwrap_or_default();
        let name = visible(&format!("{}{net}", phase.name));
        // One letter's room stays free before the next name.
        (room > 4).then(|| Text::new(shorten(&name, room - 1), (phase.start_s, top), letters.clone()))
    }))?;
    Ok(())
}

/// A line that is broken where nothing was measured.
fn line(
    canvas: &mut Canvas<'_, '_>,
    series: &Series,
    index: usize,
    value: impl Fn(&crate::report::model::Point) -> Option<f64>,
) -> Drawn {
    let colour = super::plot::series(index).1;
    let mut piece: Vec<(f64, f64)> = Vec::new();
    let mut last_end = f64::NEG_INFINITY;
    let mut pieces = Vec::new();
    for point in &series.points {
        let is_gap = point.start_s - last_end > series.window_s / 2.0;
        let measured = value(point);
        if (is_gap || measured.is_none()) && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
        }
        piece.extend(measured.map(|value| (f64::midpoint(point.start_s, point.end_s), value)));
        last_end = point.end_s;
    }
    pieces.push(piece);
    for piece in pieces {
        if let [alone] = piece.as_slice() {
            canvas.draw_series([Circle::new(*alone, 2, colour.filled())])?;
        } else {
            canvas.draw_series(LineSeries::new(piece, colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

/// From the median to the maximum, for the endpoints in which most time was spent.
pub(super) fn percentiles(report: &Report) -> Option<Markup> {
    let mut endpoints: Vec<&Endpoint> =
        report.endpoints.iter().filter(|endpoint| endpoint.latency_s.count > 1).collect();
    let time = |endpoint: &Endpoint| endpoint.latency_s.mean.unwrap_or(0.0) * endpoint.latency_s.count as f64;
    endpoints.sort_by(|a, b| time(b).total_cmp(&time(a)));
    endpoints.truncate(N_SERIES);
    let curves: Vec<Vec<(f64, f64)>> = endpoints.iter().map(|endpoint| curve(&endpoint.latency_s)).collect();
    let values = || curves.iter().flatten().map(|(_, value)| *value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if !(low.is_finite() && high.is_finite()) {
        return None;
    }
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let decades = std::iter::successors(Some(low), |at| Some(at + 1.0)).take_while(|at| *at <= high);
    let y = Axis { range: low..high, ticks: decades.collect(), label: &|value| seconds(10f64.powf(value)) };
    let x =
        Axis { range: 0.3..3.3, ticks: NINES.map(|(share, _)| nines(share)).to_vec(), label: &nines_name };
    Some(html! {
        section id="percentiles" {
            h2 { "Percentile curves" }
            p.note {
                "How slow the slowest are: each step to the right is ten times rarer. The endpoints with the most time; "
                "both axes are logarithmic, the last point is the maximum."
            }
            p.legend {
                @for (index, endpoint) in endpoints.iter().enumerate() {
                    (key(series(index).0, &visible(&super::page::named(report, endpoint)))) " "
                }
            }
            (plot(Width::Full, "latency by percentile", &x, &y, |canvas| {
                for (index, curve) in curves.iter().enumerate() {
                    let colour = series(index).1;
                    canvas.draw_series(LineSeries::new(curve.iter().copied(), colour.stroke_width(2)))?;
                    canvas.draw_series(curve.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
                }
                Ok(())
            }))
        }
    })
}

/// The shares that have a label.
const NINES: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p999")];

/// How many nines a share has: p90 is 1, p99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

fn nines_name(value: f64) -> String {
    let name = NINES.iter().find(|(share, _)| (nines(*share) - value).abs() < 1e-6);
    name.map_or_else(String::new, |(_, name)| (*name).to_owned())
}

/// Points of a curve on logarithmic axes. A percentile beyond what the number of values can tell is the maximum, which
/// stands where one in that many is.
fn curve(latency: &Distribution) -> Vec<(f64, f64)> {
    let values = [latency.p50, latency.p90, latency.p95, latency.p99, latency.p999];
    let end = nines(1.0 - 1.0 / latency.count.max(2) as f64);
    let known = NINES.iter().map(|(share, _)| nines(*share)).zip(values).filter(|(at, _)| *at < end);
    let all = known.chain([(end.min(3.3), latency.max)]);
    all.filter_map(|(at, value)| Some((at, value.filter(|value| *value > 0.0)?.log10()))).collect()
}
