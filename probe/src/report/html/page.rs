//! The page: what stands where.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{charts, gpu, locks, resources, stages, visible};
use crate::profile::Unit;
use crate::report::budget;
use crate::report::grid::{Grid, grids};
use crate::report::model::{Breakdown, Distribution, Endpoint, Report};
use crate::report::text::format::{
    NONE, bytes, count, maybe_seconds, percent, quantity, seconds, three_digits,
};
use crate::slo::{Judgement, Verdict};

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded and nothing runs, whatever a name in the report contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub(super) fn page(report: &Report) -> Markup {
    let title =
        format!("{}: {}", report.verdict.to_string().to_uppercase(), visible(&report.run.profile.name));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report))
                main {
                    (objectives(report))
                    @if let Some(comparison) = &report.comparison {
                        (list("Compared with", comparison.baselines.iter().cloned().chain(
                            comparison.left_out.iter().map(|other| format!("not with {}: {}", other.run, other.why)),
                        )))
                    }
                    @if let Some(charts) = charts::over_time(report) { (charts) }
                    @if let Some(waterfall) = waterfall(report) { (waterfall) }
                    @if let Some(charts) = charts::percentiles(report) { (charts) }
                    @if let Some(waterfalls) = stages::waterfalls(report) { (waterfalls) }
                    @if let Some(charts) = locks::over_time(report) { (charts) }
                    @if let Some(charts) = gpu::over_time(report) { (charts) }
                    @if let Some(charts) = resources::over_time(report) { (charts) }
                    (endpoints(report))
                    @for grid in grids(report) { (table(&grid)) }
                    (list("Not seen", report.health.blind_spots.iter().map(|spot| {
                        let remedy = if spot.remedy.is_empty() { String::new() } else { format!(" Remedy: {}.", spot.remedy) };
                        format!("{}: {}.{remedy}", spot.what, spot.why)
                    })))
                    (list("Warnings", report.warnings.iter().cloned()))
                    (health(report))
                }
                footer { "Made by probe; the same data stands in report.json (" (report.schema) ")." }
            }
        }
    }
}

fn header(report: &Report) -> Markup {
    let run = &report.run;
    let all = &report.overall;
    let failed = report.objectives.iter().filter(|judgement| judgement.verdict == report.verdict).count();
    let said = match report.verdict {
        _ if report.objectives.is_empty() => "nothing was judged".to_owned(),
        Verdict::Pass => format!("all of {}", count(report.objectives.len() as u64, "verdict")),
        _ => format!("{failed} of {}", count(report.objectives.len() as u64, "verdict")),
    };
    let tiles = [
        ("requests", all.requests.to_string()),
        ("per second", all.rate_per_s.map_or_else(|| NONE.to_owned(), three_digits)),
        ("latency p50", maybe_seconds(all.latency_s.p50)),
        ("latency p95", maybe_seconds(all.latency_s.p95)),
        ("latency p99", maybe_seconds(all.latency_s.p99)),
        ("5xx", all.errors.to_string()),
        ("aborted", all.aborted.to_string()),
        ("events lost", report.health.lost.map_or_else(|| "unknown".to_owned(), |lost| lost.to_string())),
    ];
    html! {
        header class=(class(report.verdict)) {
            p.verdict { (badge(report.verdict)) " " span { (said) } }
            h1 { (visible(&run.profile.name)) }
            p.target { code { (visible(&run.target.cmdline)) } }
            p.facts {
                "pid " (run.target.pid) " · " (seconds(run.duration_s)) " from " (visible(&run.started_at)) " · "
                (visible(&run.host)) ", Linux " (visible(&run.kernel)) " · run " (visible(&run.id))
            }
            dl.tiles { @for (name, value) in tiles { div { dt { (name) } dd { (value) } } } }
        }
    }
}

const fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
    }
}

fn badge(verdict: Verdict) -> Markup {
    html! { strong class={ "badge " (class(verdict)) } { (verdict.to_string().to_uppercase()) } }
}

fn objectives(report: &Report) -> Markup {
    html! {
        @if !report.objectives.is_empty() {
            section id="verdicts" {
                h2 { "Verdicts" }
                ul.verdicts { @for judgement in &report.objectives { (objective(judgement)) } }
            }
        }
    }
}

fn objective(judgement: &Judgement) -> Markup {
    let level = |value| quantity(value, judgement.unit);
    let samples = count(judgement.samples, &visible(&judgement.sample));
    html! {
        li class=(class(judgement.verdict)) {
            div.line {
                (badge(judgement.verdict))
                span.id { (visible(&judgement.id)) }
                span.value { (judgement.value.map_or_else(|| NONE.to_owned(), level)) }
            }
            (gauge(judgement))
            p.evidence {
                code { (visible(&judgement.metric)) } " of " (visible(&judgement.subject))
                @if judgement.phase != "run" { " in phase " (visible(&judgement.phase)) }
                ": target " (level(judgement.target)) ", limit " (level(judgement.limit)) "; " (samples)
                @if let Some((low, high)) = judgement.interval { ", 95 % interval " (level(low)) " to " (level(high)) }
            }
            @if let Some(reason) = &judgement.reason { p.reason {
                @if judgement.verdict == Verdict::Inconclusive { "Not judged: " }
                (visible(reason))
            } }
        }
    }
}

/// Where value and interval lie against target and limit, as parts of a scale that holds them all.
fn gauge(judgement: &Judgement) -> Markup {
    let Some(value) = judgement.value.filter(|value| value.is_finite()) else { return html! {} };
    let (low, high) = judgement.interval.unwrap_or((value, value));
    let is_share = judgement.unit == Unit::Ratio && judgement.limit > 0.5;
    let values = [value, low, high, judgement.target, judgement.limit];
    let end = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max) * 1.08;
    // Shares near 100 % are told apart at the upper end of the scale only.
    let (begin, end) =
        if is_share { (values.into_iter().fold(1.0, f64::min) * 0.98, 1.0) } else { (0.0, end) };
    if end <= begin {
        return html! {};
    }
    let at = |value: f64| format!("{:.2}%", ((value - begin) / (end - begin) * 100.0).clamp(0.0, 100.0));
    let span = |from: f64, to: f64| format!("left:{};right:calc(100% - {})", at(from), at(to));
    let higher_is_better = judgement.target > judgement.limit;
    html! {
        div.gauge aria-hidden="true" {
            @if higher_is_better {
                span.zone.bad style=(span(begin, judgement.limit)) {} span.zone.mid style=(span(judgement.limit, judgement.target)) {}
            } @else {
                span.zone.mid style=(span(judgement.target, judgement.limit)) {} span.zone.bad style=(span(judgement.limit, end)) {}
            }
            span.interval style=(span(low, high)) {}
            span.mark style={ "left:" (at(value)) } {}
        }
    }
}

/// Mean of each part of a request, one behind the other.
fn waterfall(report: &Report) -> Option<Markup> {
    const PARTS: [&str; 5] = ["accept queue", "receive queue", "read", "app", "write"];
    let timed: Vec<&Endpoint> =
        with_overall(report).filter(|endpoint| endpoint.latency_s.count > 0).collect();
    let longest = timed.iter().filter_map(|endpoint| endpoint.latency_s.mean).fold(0.0, f64::max);
    let means = |endpoint: &Endpoint| {
        let Breakdown { accept_queue_s, receive_queue_s, read_s, app_s, write_s } = &endpoint.breakdown;
        [accept_queue_s, receive_queue_s, read_s, app_s, write_s].map(|part| part.mean.unwrap_or(0.0))
    };
    let width = |part: f64| format!("width:{:.3}%", (part / longest * 100.0).clamp(0.0, 100.0));
    (longest > 0.0).then(|| html! {
        section id="waterfall" {
            h2 { "Where the time goes" }
            p.note { "The mean request, part after part; all bars have one scale, the longest is " (seconds(longest)) "." }
            p.legend {
                @for (index, part) in PARTS.iter().enumerate() {
                    span.key { span.swatch style={ "background:var(--c" (index) ")" } {} (part) } " "
                }
            }
            ul.bars {
                @for endpoint in timed {
                    li {
                        span.name { (visible(&named(report, endpoint))) } span.value { (maybe_seconds(endpoint.latency_s.mean)) }
                        div.bar {
                            @for (index, part) in means(endpoint).into_iter().enumerate() {
                                span style={ "background:var(--c" (index) ");" (width(part)) }
                                    title={ (PARTS[index]) " " (seconds(part)) } {}
                            }
                        }
                    }
                }
            }
        }
    })
}

fn with_overall(report: &Report) -> impl Iterator<Item = &Endpoint> {
    report.endpoints.iter().chain((report.endpoints.len() > 1).then_some(&report.overall))
}

/// An endpoint's name, with its phase where there are several.
pub(super) fn named(report: &Report, endpoint: &Endpoint) -> String {
    if report.phases.len() > 1 && endpoint.phase != "run" {
        format!("{} in {}", endpoint.endpoint, endpoint.phase)
    } else {
        endpoint.endpoint.clone()
    }
}

/// One value of a distribution.
type Stat = fn(&Distribution) -> Option<f64>;

fn endpoints(report: &Report) -> Markup {
    const STATS: [(&str, Stat); 5] = [
        ("p50", |of| of.p50),
        ("p90", |of| of.p90),
        ("p95", |of| of.p95),
        ("p99", |of| of.p99),
        ("max", |of| of.max),
    ];
    let has_phases = report.endpoints.iter().any(|endpoint| endpoint.phase != "run");
    html! {
        @if !report.endpoints.is_empty() {
            section id="endpoints" {
                h2 { "Endpoints" }
                div.scroll { table {
                    thead { tr {
                        th { "endpoint" } @if has_phases { th { "phase" } }
                        @for name in ["requests", "per s", "5xx", "aborted"] { th.n { (name) } }
                        @for (name, _) in STATS { th.n { (name) } }
                        th.n { "in" } th.n { "out" }
                    } }
                    tbody { @for endpoint in with_overall(report) { tr {
                        th scope="row" { (visible(&endpoint.endpoint)) } @if has_phases { td { (visible(&endpoint.phase)) } }
                        td.n { (endpoint.requests) }
                        td.n { (endpoint.rate_per_s.map_or_else(|| NONE.to_owned(), three_digits)) }
                        td.n { (endpoint.errors) } td.n { (endpoint.aborted) }
                        @for (_, stat) in STATS { td.n { (maybe_seconds(stat(&endpoint.latency_s))) } }
                        td.n { (bytes(endpoint.bytes_in)) } td.n { (bytes(endpoint.bytes_out)) }
                    } } }
                } }
            }
        }
    }
}

/// Any other section.
fn table(grid: &Grid) -> Markup {
    let mut title = grid.title.chars();
    let title: String = title.next().into_iter().flat_map(char::to_uppercase).chain(title).collect();
    html! {
        section {
            h2 { (visible(&title)) }
            div.scroll { table {
                thead { tr { @for (index, column) in grid.columns.iter().enumerate() {
                    th.n[grid.rows.iter().any(|row| row[index].is_number)] { (visible(column)) }
                } } }
                tbody { @for row in &grid.rows { tr {
                    @for cell in row { td.n[cell.is_number] { (visible(&cell.text)) } }
                } } }
            } }
        }
    }
}

fn list(title: &str, items: impl Iterator<Item = String>) -> Markup {
    let items: Vec<String> = items.collect();
    html! {
        @if !items.is_empty() {
            section { h2 { (title) } ul.plain { @for item in &items { li { (visible(item)) } } } }
        }
    }
}

fn health(report: &Report) -> Markup {
    let health = &report.health;
    let share = |ratio: Option<f64>| ratio.map_or_else(|| "unknown".to_owned(), percent);
    let facts = [
        ("events", health.events.to_string()),
        ("events lost", share(health.loss_ratio)),
        ("kernel programs, of a core", share(health.bpf_cpu_ratio)),
        ("agent, of a core", share(health.agent_cpu_ratio)),
        ("agent's memory", health.agent_rss_bytes.map_or_else(|| "unknown".to_owned(), bytes)),
        ("attach", maybe_seconds(health.attach_s)),
    ];
    html! {
        section id="health" {
            h2 { "How well it was seen, and what seeing cost" }
            dl.tiles { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
            @if let Some(budget) = &health.budget { p { "Budget: " (visible(&budget::sentence(budget))) "." } }
            @if !health.lost_by_cause.is_empty() {
                p { "Lost: " @for (cause, lost) in &health.lost_by_cause { (visible(cause)) " " (lost) "; " } }
            }
        }
    }
}
