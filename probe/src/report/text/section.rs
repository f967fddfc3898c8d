//! The sections of the report for people, in their order. An empty one is left out.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::WIDTH;
use super::format::{
    NONE, bytes, condition, count, glued, integer, maybe_seconds, percent, plain, quantity, seconds, shorten,
    three_digits, wrap,
};
use crate::event::{EndedBy, LoadOutcome};
use crate::report::budget;
use crate::report::model::{Breakdown, Distribution, Endpoint, PhaseLoad, Report};
use crate::slo::{Judgement, Verdict};

/// Columns of an objective's first word, so that all ids begin below one another.
const VERDICT_WIDTH: usize = 12;
/// Between columns.
const GAP: usize = 2;
/// Fewer columns show nothing of a name.
const MIN_NAME_WIDTH: usize = 12;

/// What ran.
pub(super) fn header(report: &Report) -> String {
    let run = &report.run;
    let ended = match run.ended_by {
        Some(EndedBy::Duration | EndedBy::Plan) => "",
        Some(EndedBy::Abort) => ", ended early by a rule of the profile",
        Some(EndedBy::Signal) => ", ended by a signal",
        Some(EndedBy::TargetExit) => ", ended with the target",
        Some(EndedBy::Unfinished) | None => ", end not recorded",
    };
    let processes = run.target.processes.map_or_else(String::new, |n| match n {
        1 => ", 1 process".to_owned(),
        n => format!(", {n} processes"),
    });
    let lines = [
        ("target", format!("pid {}{processes}: {}", run.target.pid, plain(&run.target.cmdline))),
        ("run", plain(&run.id)),
        ("time", format!("{} from {}{ended}", seconds(run.duration_s), plain(&run.started_at))),
        ("host", format!("{}, Linux {}", plain(&run.host), plain(&run.kernel))),
        (
            "profile",
            format!(
                "{} (sha256 {})",
                plain(&run.profile.name),
                plain(run.profile.sha256.get(..12).unwrap_or_default())
            ),
        ),
    ];
    lines.iter().map(|(name, value)| field(name, value)).collect()
}

/// The verdicts with their evidence.
pub(super) fn objectives(report: &Report) -> String {
    if report.objectives.is_empty() {
        return String::new();
    }
    let rows = report.objectives.iter().map(|judgement| {
        let level = |value| quantity(value, judgement.unit);
        let value = judgement.value.map_or_else(|| NONE.to_owned(), level);
        [plain(&judgement.id), value, level(judgement.target), level(judgement.limit), margin(judgement)]
    });
    // Verdict and evidence stand around the table's lines: five columns and a line below fit where ten do not.
    let table =
        table(&["objective", "value", "target", "limit", "margin"], rows, WIDTH - VERDICT_WIDTH - GAP);
    let mut lines = table.lines();
    let mut out = format!("{:VERDICT_WIDTH$}  {}\n", "VERDICTS", lines.next().unwrap_or_default());
    for (judgement, line) in report.objectives.iter().zip(lines) {
        let verdict = judgement.verdict.to_string().to_uppercase();
        let _ = writeln!(out, "{verdict:VERDICT_WIDTH$}  {line}");
        out += &indented(&evidence(judgement));
        if let Some(reason) = &judgement.reason {
            let not = if judgement.verdict == Verdict::Inconclusive { "not judged: " } else { "" };
            out += &indented(&format!("{not}{}", plain(reason)));
        }
    }
    out
}

fn margin(judgement: &Judgement) -> String {
    match judgement.margin {
        None => NONE.to_owned(),
        // Of the limit: 40 % means that there is room for two thirds more.
        Some(margin) if judgement.limit > 0.0 => format!("{:+.0} %", margin / judgement.limit * 100.0),
        Some(margin) => quantity(margin, judgement.unit),
    }
}

fn evidence(judgement: &Judgement) -> String {
    let interval = judgement.interval.map(|(low, high)| {
        let end = |value| glued(&quantity(value, judgement.unit));
        format!(", {} interval {} to {}", glued("95 %"), end(low), end(high))
    });
    let is_only = judgement.phase == "run";
    let phase = if is_only { String::new() } else { format!(" in {}", plain(&judgement.phase)) };
    format!(
        "{} of {}{phase}, {}{}",
        plain(&judgement.metric),
        plain(&judgement.subject),
        count(judgement.samples, &plain(&judgement.sample)),
        interval.unwrap_or_default()
    )
}

/// Below the objectives' ids.
fn indented(text: &str) -> String {
    let indent = VERDICT_WIDTH + GAP;
    let pad = " ".repeat(indent);
    wrap(text, WIDTH - indent, 0).lines().flat_map(|line| [&pad, line, "\n"]).collect()
}

/// What the run was made of, where it had phases.
pub(super) fn phases(report: &Report) -> String {
    if report.overall_by_phase.is_empty() {
        return String::new();
    }
    let rows = report.phases.iter().zip(&report.overall_by_phase).map(|(phase, all)| {
        let judged = if phase.judged { "yes" } else { "no" };
        let net = phase.net.as_deref().map_or_else(|| NONE.to_owned(), |net| plain(&condition(net)));
        [
            plain(&phase.name),
            seconds(phase.end_s - phase.start_s),
            judged.to_owned(),
            net,
            phase.load.as_ref().map_or_else(|| NONE.to_owned(), load),
            integer(all.requests),
            all.rate_per_s.map_or_else(|| NONE.to_owned(), three_digits),
            maybe_seconds(all.latency_s.p95),
        ]
    });
    table(&["PHASES", "length", "judged", "net", "load", "requests", "per s", "p95"], rows, WIDTH)
}

fn load(load: &PhaseLoad) -> String {
    match load.outcome {
        LoadOutcome::Ok { .. } => "ok".to_owned(),
        LoadOutcome::Failed { code } => format!("exit {code}"),
        LoadOutcome::Killed { signal } => format!("signal {signal}"),
        LoadOutcome::Overran => "overran".to_owned(),
        LoadOutcome::Stopped => "stopped".to_owned(),
    }
}

/// What the verdicts compare the run with.
pub(super) fn comparison(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let own = comparison.baselines.iter().map(|run| format!("- {}", plain(run)));
    let others = comparison.left_out.iter();
    let others = others.map(|other| format!("- not with {}: {}", plain(&other.run), plain(&other.why)));
    list("COMPARED WITH (target is the median of these runs, limit what the rule allows)", own.chain(others))
}

/// The numbers of each endpoint.
pub(super) fn endpoints(report: &Report) -> String {
    each_phase(report, "", |title, endpoints| {
        let title = if title.is_empty() { "ENDPOINTS".to_owned() } else { format!("ENDPOINTS{title}") };
        let rows = endpoints.iter().map(|endpoint| {
            let latency = &endpoint.latency_s;
            [
                plain(&endpoint.endpoint),
                integer(endpoint.requests),
                integer(endpoint.errors),
                integer(endpoint.aborted),
                endpoint.rate_per_s.map_or_else(|| NONE.to_owned(), three_digits),
                maybe_seconds(latency.p50),
                maybe_seconds(latency.p95),
                maybe_seconds(latency.p99),
                maybe_seconds(latency.max),
            ]
        });
        table(&[&title, "requests", "5xx", "abort", "per s", "p50", "p95", "p99", "max"], rows, WIDTH)
    })
}

/// Where the time of each endpoint goes.
pub(super) fn breakdown(report: &Report) -> String {
    let about = "WHERE THE TIME GOES (p95 of each part, and its share of all the time)\n";
    each_phase(report, about, |title, endpoints| {
        let rows = endpoints.iter().filter(|endpoint| endpoint.latency_s.count > 0).map(|endpoint| {
            let Breakdown { accept_queue_s, receive_queue_s, read_s, app_s, write_s } = &endpoint.breakdown;
            let part = |part: &Distribution| {
                let share = match (part.mean, endpoint.latency_s.mean) {
                    (Some(mean), Some(whole)) if whole > 0.0 => format!("{:.0}%", mean / whole * 100.0),
                    _ => NONE.to_owned(),
                };
                format!("{} {share:>4}", maybe_seconds(part.p95))
            };
            [
                plain(&endpoint.endpoint),
                part(accept_queue_s),
                part(receive_queue_s),
                part(read_s),
                part(app_s),
                part(write_s),
            ]
        });
        let title = format!("endpoint{title}");
        table(&[&title, "accept q.", "receive q.", "read", "app", "write"], rows, WIDTH)
    })
}

/// One table per phase that has rows, all below one title.
fn each_phase(report: &Report, about: &str, table: impl Fn(&str, &[&Endpoint]) -> String) -> String {
    let mut tables = Vec::new();
    for phase in &report.phases {
        let of_phase = |endpoint: &&Endpoint| endpoint.phase == phase.name;
        let mut endpoints: Vec<&Endpoint> = report.endpoints.iter().filter(of_phase).collect();
        // With one endpoint the sum says nothing new.
        if endpoints.len() > 1 {
            let by_phase = report.overall_by_phase.iter().find(of_phase);
            endpoints.push(by_phase.unwrap_or(&report.overall));
        }
        let is_only = report.overall_by_phase.is_empty();
        let title = if is_only { String::new() } else { format!(" in {}", plain(&phase.name)) };
        let table = table(&title, &endpoints);
        if table.lines().count() > 1 {
            tables.push(table);
        }
    }
    if tables.is_empty() { String::new() } else { format!("{about}{}", tables.join("\n")) }
}

/// How connections came in.
pub(super) fn listeners(report: &Report) -> String {
    if report.accept.listeners.is_empty() {
        return String::new();
    }
    let rows = report.accept.listeners.iter().map(|listener| {
        let addr = listener.addr.as_deref().unwrap_or("?");
        let limit = listener.backlog_limit.map_or_else(|| "?".to_owned(), |limit| integer(u64::from(limit)));
        [
            plain(&match addr {
                unix if unix.starts_with("unix:") => unix.to_owned(),
                ipv6 if ipv6.contains(':') => format!("[{ipv6}]:{}", listener.port),
                ipv4 => format!("{ipv4}:{}", listener.port),
            }),
            integer(listener.accepted),
            integer(listener.abandoned),
            maybe_seconds(listener.queue_wait_s.p50),
            maybe_seconds(listener.queue_wait_s.p99),
            maybe_seconds(listener.queue_wait_s.max),
            format!("{}/{limit}", listener.backlog_max),
            listener.overflows.map_or_else(|| NONE.to_owned(), integer),
        ]
    });
    let titles = ["LISTENERS", "accepted", "gave up", "wait p50", "p99", "max", "queue", "dropped"];
    table(&titles, rows, WIDTH)
}

/// The target's socket calls.
pub(super) fn syscalls(report: &Report) -> String {
    if report.syscalls.is_empty() {
        return String::new();
    }
    let rows = report.syscalls.iter().map(|call| {
        [
            format!("{} {} {}", plain(&call.role), plain(&call.op), plain(&call.mode)),
            integer(call.calls),
            integer(call.would_block),
            integer(call.errors),
            maybe_seconds(call.latency_s.p50),
            maybe_seconds(call.latency_s.p99),
            maybe_seconds(call.latency_s.max),
            bytes(call.bytes),
        ]
    });
    table(&["SOCKET CALLS", "calls", "again", "errors", "p50", "p99", "max", "bytes"], rows, WIDTH)
}

/// How well it could be seen, and what that cost.
pub(super) fn health(report: &Report) -> String {
    let health = &report.health;
    let lost = match (health.lost, health.loss_ratio) {
        (Some(0), _) => "none lost".to_owned(),
        (Some(lost), Some(ratio)) => format!("{lost} lost ({})", glued(&percent(ratio))),
        _ => "losses unknown".to_owned(),
    };
    let causes: Vec<String> =
        health.lost_by_cause.iter().map(|(cause, lost)| format!("{} {lost}", plain(cause))).collect();
    let causes = if causes.is_empty() { String::new() } else { format!(": {}", causes.join(", ")) };
    let of_a_core = |what, ratio: f64| format!("{what} {} of a core", glued(&percent(ratio)));
    let costs = [
        health.bpf_cpu_ratio.map(|ratio| of_a_core("kernel programs", ratio)),
        health.agent_cpu_ratio.map(|ratio| of_a_core("agent", ratio)),
        health.agent_rss_bytes.map(|rss| format!("memory {}", glued(&bytes(rss)))),
        health.attach_s.map(|attach| format!("attach {}", glued(&seconds(attach)))),
        health
            .gpu
            .and_then(|gpu| gpu.look_s.mean)
            .map(|look| format!("a look at a GPU {}", glued(&seconds(look)))),
        health.gpu.and_then(|gpu| gpu.cpu_ratio).map(|ratio| of_a_core("looking at GPUs", ratio)),
    ];
    let costs: Vec<String> = costs.into_iter().flatten().collect();
    let costs = if costs.is_empty() { "unknown".to_owned() } else { costs.join(", ") };
    let events = field("events", &format!("{}, {lost}{causes}", health.events));
    let budget = health.budget.as_ref().map(|budget| field("budget", &plain(&budget::sentence(budget))));
    format!("HEALTH\n{events}{}{}", field("cost", &costs), budget.unwrap_or_default())
}

/// What could not be seen.
pub(super) fn blind_spots(report: &Report) -> String {
    let spots = report.health.blind_spots.iter().map(|spot| {
        let remedy =
            if spot.remedy.is_empty() { String::new() } else { format!(" Remedy: {}.", plain(&spot.remedy)) };
        format!("- {}: {}.{remedy}", plain(&spot.what), plain(&spot.why))
    });
    list("NOT SEEN", spots)
}

/// Doubts about the measurement.
pub(super) fn warnings(report: &Report) -> String {
    list("WARNINGS", report.warnings.iter().map(|warning| format!("- {}", plain(warning))))
}

fn list(title: &str, items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| wrap(&item, WIDTH, 2) + "\n").collect();
    if items.is_empty() { items } else { format!("{title}\n{items}") }
}

/// A name and its value, later lines below the value.
fn field(name: &str, value: &str) -> String {
    wrap(&format!("{name:<8} {value}"), WIDTH, 9) + "\n"
}

/// A table without lines: names to the left, numbers to the right, names shortened so that it fits.
pub(super) fn table<const N: usize>(
    titles: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
    width: usize,
) -> String {
    let mut rows: Vec<[String; N]> = rows.collect();
    let columns = |at: usize| {
        rows.iter().map(|row| row[at].chars().count()).chain([titles[at].len()]).max().unwrap_or_default()
    };
    let mut widths: [usize; N] = std::array::from_fn(columns);
    let numbers: usize = widths.iter().skip(1).sum();
    // Numbers may touch before a name vanishes.
    let mut gap = GAP;
    if widths[0] + numbers + gap * (N - 1) > width {
        gap = 1;
    }
    let room = width.saturating_sub(numbers + gap * (N - 1)).max(MIN_NAME_WIDTH);
    widths[0] = widths[0].min(room);
    for row in &mut rows {
        row[0] = shorten(&row[0], widths[0]);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles.iter().copied());
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        let gap = u16::try_from(gap).unwrap_or(1);
        column.set_padding((if at == 0 { 0 } else { gap }, 0));
        column.set_cell_alignment(if at == 0 { CellAlignment::Left } else { CellAlignment::Right });
    }
    table.trim_fmt() + "\n"
}
