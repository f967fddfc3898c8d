//! GPUs for people: a line each, what is worth a word about one, and what they did while requests waited for answers.

use super::WIDTH;
use super::format::{
    NONE, bytes, glued, integer, maybe_seconds, percent, plain, seconds, shorten, three_digits, wrap,
};
use super::section::table;
use crate::report::model::{Gpu, GpuProcess, Report};

/// The target's processes that are shown of each GPU; `report.json` has all.
const MAX_PROCESSES: usize = 4;
/// Width of a name that begins with its phase.
const MAX_NAME: usize = 28;

/// Both tables.
pub(super) fn gpus(report: &Report) -> String {
    if report.gpu.is_empty() {
        return String::new();
    }
    let rows = report.gpu.iter().map(|gpu| {
        let memory_max = gpu.memory_bytes.max;
        let of_all = match (memory_max, gpu.memory_total_bytes) {
            (Some(max), Some(total)) if total > 0 => whole_percent(max / total as f64),
            _ => NONE.to_owned(),
        };
        [
            name(report, gpu),
            maybe(gpu.util.mean, whole_percent),
            maybe(gpu.util.p95, whole_percent),
            maybe(gpu.util.max, whole_percent),
            maybe(memory_max, size),
            of_all,
            maybe(gpu.power_w.mean, |watts| format!("{} W", three_digits(watts))),
            maybe(gpu.temperature_c.max, |degrees| format!("{degrees:.0} C")),
            maybe(gpu.slowdown_ratio, whole_percent),
        ]
    });
    let titles = ["GPU", "busy", "p95", "max", "memory max", "of all", "power", "max", "slowed"];
    let mut text = table(&titles, rows, WIDTH);
    for gpu in &report.gpu {
        for note in notes(gpu, &place(report, gpu)) {
            text += &wrap(&format!("- {note}"), WIDTH, 2);
            text.push('\n');
        }
    }
    text + &while_in_app(report) + &while_in_stage(report)
}

fn name(report: &Report, gpu: &Gpu) -> String {
    let product = plain(gpu.name.as_deref().unwrap_or("?"));
    if has_phases(report) {
        // The phase tells rows apart; the product is the same in each.
        shorten(&format!("{}: {} {product}", plain(&gpu.phase), gpu.index), MAX_NAME)
    } else {
        format!("{} {product}", gpu.index)
    }
}

fn has_phases(report: &Report) -> bool {
    report.gpu.iter().any(|gpu| gpu.phase != report.gpu[0].phase)
}

/// What tells the lines of one GPU in one phase from those of others.
fn place(report: &Report, gpu: &Gpu) -> String {
    let index = report.gpu.iter().any(|other| other.index != gpu.index).then(|| gpu.index.to_string());
    let phase = has_phases(report).then(|| plain(&gpu.phase));
    let words: Vec<String> = phase.into_iter().chain(index).collect();
    if words.is_empty() { String::new() } else { format!("{}: ", words.join(" ")) }
}

/// What is worth a word.
fn notes(gpu: &Gpu, place: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(lost_s) = gpu.lost_s {
        notes.push(format!("lost {} after the start of the run", glued(&seconds(lost_s))));
    }
    if let Some(joules) = gpu.energy_j {
        let from = if gpu.energy_from.as_deref() == Some("power") { ", made of power readings" } else { "" };
        let each = gpu.energy_per_document_j.map_or_else(String::new, |joules| {
            format!(", {} for each finished document", glued(&format!("{} J", three_digits(joules))))
        });
        notes.push(format!("energy {}{from}{each}", glued(&format!("{} J", three_digits(joules)))));
    }
    let throttles =
        gpu.throttle_s.iter().flatten().filter(|(reason, held_s)| **held_s > 0.0 && *reason != "gpu_idle");
    let throttles: Vec<String> =
        throttles.map(|(reason, held_s)| format!("{} {}", plain(reason), glued(&seconds(*held_s)))).collect();
    if !throttles.is_empty() {
        notes.push(format!("clocks held down by {}", throttles.join(", ")));
    }
    let errors = [
        ("corrected memory errors", gpu.ecc_corrected),
        ("uncorrected memory errors", gpu.ecc_uncorrected),
        ("NVLink errors", gpu.nvlink_errors),
        ("PCIe replays", gpu.pcie_replays),
    ];
    let errors =
        errors.iter().filter_map(|(what, count)| count.filter(|count| *count > 0).map(|n| (what, n)));
    let errors: Vec<String> = errors.map(|(what, count)| format!("{} {what}", integer(count))).collect();
    if !errors.is_empty() {
        notes.push(format!("during the run: {}", errors.join(", ")));
    }
    for instance in &gpu.instances {
        notes.push(format!(
            "instance {}: memory at most {} of {}",
            instance.index,
            maybe(instance.memory_bytes.max, size),
            glued(&bytes(instance.memory_total_bytes))
        ));
    }
    let shown = gpu.processes.iter().take(MAX_PROCESSES);
    notes.extend(shown.map(|process| {
        let pid = process.pid.map_or_else(|| "more of the target".to_owned(), |pid| format!("pid {pid}"));
        of_process(&pid, process)
    }));
    if gpu.processes.len() > MAX_PROCESSES {
        notes.push(format!("and {} more processes of the target", gpu.processes.len() - MAX_PROCESSES));
    }
    notes.extend(gpu.other_processes.as_ref().map(|others| of_process("processes of others", others)));
    notes.into_iter().map(|note| format!("{place}{note}")).collect()
}

fn of_process(who: &str, process: &GpuProcess) -> String {
    let instance = process.instance.map_or_else(String::new, |id| format!(" (instance {id})"));
    let busy = maybe(process.sm_util, percent);
    format!(
        "{who}{instance}: busy {}, memory {}",
        glued(&busy),
        glued(&maybe(process.memory_bytes.map(|n| n as f64), size))
    )
}

/// What GPUs did while requests were in the application.
fn while_in_app(report: &Report) -> String {
    let rows = report.gpu.iter().flat_map(|gpu| {
        gpu.endpoints.iter().map(move |overlap| {
            [
                format!("{}{}", place(report, gpu), plain(&overlap.endpoint)),
                integer(overlap.requests),
                maybe_seconds(Some(overlap.covered_s)),
                maybe(overlap.util, whole_percent),
                maybe(overlap.memory_bytes.map(|n| n as f64), size),
                maybe(overlap.energy_j, |joules| format!("{} J", three_digits(joules))),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = ["endpoint", "requests", "in app", "GPU busy", "memory max", "energy each"];
    format!(
        "\nWHAT THE GPU DID WHILE REQUESTS WERE IN THE APPLICATION (for whomever)\n{}",
        table(&titles, rows.into_iter(), WIDTH)
    )
}

/// What GPUs did while stages of documents ran.
fn while_in_stage(report: &Report) -> String {
    let rows: Vec<_> = report
        .gpu
        .iter()
        .flat_map(|gpu| {
            gpu.stages.iter().map(move |stage| {
                [
                    format!("{}{}", place(report, gpu), plain(&stage.stage)),
                    integer(stage.documents),
                    maybe_seconds(Some(stage.covered_s)),
                    maybe(stage.util, whole_percent),
                    maybe(stage.memory_bytes.map(|n| n as f64), size),
                    maybe(stage.energy_j, |joules| format!("{} J", three_digits(joules))),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = ["stage", "docs", "in all", "GPU busy", "memory max", "energy each"];
    format!("\nWHAT THE GPU DID WHILE STAGES RAN (for whomever)\n{}", table(&titles, rows.into_iter(), WIDTH))
}

fn maybe(value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), text)
}

fn whole_percent(ratio: f64) -> String {
    format!("{:.0}%", ratio * 100.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes; `as` saturates")]
fn size(value: f64) -> String {
    bytes(value as u64)
}
