//! What the target used, for people: all processes together in each phase, the busiest of them, and the rest in words.

use super::WIDTH;
use super::format::{NONE, bytes, glued, integer, percent, plain, shorten, three_digits, wrap};
use super::section::table;
use crate::report::model::{Distribution, ProcessResources, Report, Resources};

/// Processes that are shown of each phase; `report.json` has all.
const MAX_PROCESSES: usize = 6;

/// The table and its notes.
pub(super) fn resources(report: &Report) -> String {
    if report.resources.is_empty() {
        return String::new();
    }
    let is_only = report.resources.len() == 1;
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for used in &report.resources {
        let name = if is_only { "all processes".to_owned() } else { format!("{}: all", plain(&used.phase)) };
        rows.push(row(
            &name,
            used.rss_growth_ratio,
            [&used.cpu_ratio, &used.run_queue_ratio, &used.rss_bytes],
            [&used.fds, &used.threads, &used.switches_per_s],
        ));
        // A process that is alone is all there is.
        let mut processes: Vec<&ProcessResources> =
            used.processes.iter().filter(|_| used.processes.len() > 1).collect();
        processes.sort_by(|a, b| b.cpu_ratio.mean.unwrap_or(0.0).total_cmp(&a.cpu_ratio.mean.unwrap_or(0.0)));
        rows.extend(processes.into_iter().take(MAX_PROCESSES).map(process));
        let said = note(used);
        notes.push(if is_only { said } else { format!("{}: {said}", plain(&used.phase)) });
    }
    let titles = ["RESOURCES", "cpu", "p95", "waiting", "rss", "growth", "fds", "threads", "switches/s"];
    let mut text = table(&titles, rows.into_iter(), WIDTH);
    for note in notes {
        text += &wrap(&format!("- {note}"), WIDTH, 2);
        text.push('\n');
    }
    text
}

fn process(process: &ProcessResources) -> [String; 9] {
    row(
        &format!("  {} {}", plain(&process.name), process.pid),
        process.rss_growth_ratio,
        [&process.cpu_ratio, &process.run_queue_ratio, &process.rss_bytes],
        [&process.fds, &process.threads, &process.switches_per_s],
    )
}

fn row(
    name: &str,
    rss_growth: Option<f64>,
    [cpu, run_queue, rss]: [&Distribution; 3],
    [fds, threads, switches]: [&Distribution; 3],
) -> [String; 9] {
    [
        shorten(name, 24),
        share(cpu.mean),
        share(cpu.p95),
        share(run_queue.p95),
        size(rss.max),
        growth(rss_growth),
        number(fds.max),
        number(threads.max),
        number(switches.mean),
    ]
}

/// What stands in no column.
fn note(used: &Resources) -> String {
    let of_process = if used.processes.len() > 1 { ", of a process of one" } else { "" };
    let mut said = vec![format!("cpu is of all {} CPUs{of_process}", used.cpus)];
    let dist = |of: &Distribution, say: &dyn Fn(f64, f64) -> String| {
        of.p95.zip(of.max).map(|(p95, max)| say(p95, max))
    };
    said.extend(dist(&used.machine_cpu_ratio, &|p95, max| {
        format!("machine p95 {}, max {}", glued(&percent(p95)), glued(&percent(max)))
    }));
    said.extend(used.connections.max.map(|max| format!("at most {} connections", three_digits(max))));
    said.extend(
        used.backlog
            .max
            .filter(|max| *max > 0.0)
            .map(|max| format!("{} waiting for accept", three_digits(max))),
    );
    if used.segments > 0 {
        let (again, all) = (integer(used.retransmits), integer(used.segments));
        said.push(format!("{again} of {all} TCP segments sent again"));
    }
    for disk in &used.disks {
        said.extend(dist(&disk.busy_ratio, &|p95, max| {
            format!(
                "disk {} busy p95 {}, max {}",
                plain(&disk.device),
                glued(&percent(p95)),
                glued(&percent(max))
            )
        }));
    }
    said.join("; ")
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{:.0} %", value * 100.0))
}

fn growth(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{:+.0} %", value * 100.0))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.0}"))
}

fn size(value: Option<f64>) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    value.map_or_else(|| NONE.to_owned(), |value| bytes(value as u64))
}
