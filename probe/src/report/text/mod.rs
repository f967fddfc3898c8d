//! The report for people: 80 columns, aligned, the verdict first and last.
//!
//! What comes from outside (paths, command lines, names) is made harmless here once more, whatever was done
//! to it before: the report may be one that somebody else wrote.

mod condition;
pub(super) mod format;
mod gpu;
mod outgoing;
mod resources;
mod section;
mod sqlite;
mod stage;
mod websocket;

use std::fmt::Write as _;

use super::Renderer;
use super::model::Report;
use crate::slo::Verdict;
use format::{count, plain, wrap};

/// No line is longer, in columns.
pub(super) const WIDTH: usize = 80;

/// The report as text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Verdicts in colour, for a terminal.
    pub colour: bool,
}

impl Renderer for Text {
    fn render(&self, report: &Report) -> String {
        let verdict = verdict_line(report);
        let sections = [
            section::header(report),
            section::objectives(report),
            section::phases(report),
            condition::conditions(report),
            section::comparison(report),
            section::endpoints(report),
            section::breakdown(report),
            outgoing::outgoing(report),
            stage::pipeline(report),
            stage::stages(report),
            stage::checkpoints(report),
            websocket::websockets(report),
            section::listeners(report),
            section::syscalls(report),
            sqlite::databases(report),
            stage::files(report),
            stage::slow_calls(report),
            stage::write_stalls(report),
            stage::disks(report),
            resources::resources(report),
            gpu::gpus(report),
            section::health(report),
            section::blind_spots(report),
            section::warnings(report),
        ];
        let mut text = format!("{verdict}\n");
        for section in sections.iter().filter(|section| !section.is_empty()) {
            let _ = write!(text, "\n{section}");
        }
        let _ = write!(text, "\n{verdict}\n");
        if self.colour { coloured(&text) } else { text }
    }
}

/// The verdict and what made it.
fn verdict_line(report: &Report) -> String {
    let word = report.verdict.to_string().to_uppercase();
    let all = count(report.objectives.len() as u64, "verdict");
    if report.objectives.is_empty() {
        return format!("{word}  nothing was judged: the profile has no objectives");
    }
    if report.verdict == Verdict::Pass {
        return format!("{word}  all of {all}");
    }
    let of = |verdict| report.objectives.iter().filter(move |judgement| judgement.verdict == verdict);
    // A wildcard objective may be decisive at several endpoints.
    let mut ids: Vec<String> = of(report.verdict).map(|judgement| plain(&judgement.id)).collect();
    let n_decisive = ids.len();
    ids.dedup();
    let mut line = format!("{word}  {n_decisive} of {all}: {}", ids.join(", "));
    let n_open = of(Verdict::Inconclusive).count();
    if report.verdict == Verdict::Fail && n_open > 0 {
        let _ = write!(line, "; {n_open} inconclusive");
    }
    wrap(&line, WIDTH, 2)
}

/// Colours the verdict at the beginning of each line that has one; nothing else in the report begins a line
/// with such a word.
fn coloured(text: &str) -> String {
    const RESET: &str = "\u{1b}[0m";
    let mut out = String::with_capacity(text.len() + 256);
    for line in text.split_inclusive('\n') {
        let word = line.split_whitespace().next().unwrap_or_default();
        let colour = match word {
            "PASS" => "\u{1b}[32m",
            "WARN" => "\u{1b}[33m",
            "FAIL" => "\u{1b}[31m",
            "INCONCLUSIVE" => "\u{1b}[35m",
            _ => "",
        };
        match line.strip_prefix(word).filter(|_| !colour.is_empty()) {
            Some(rest) => {
                let _ = write!(out, "{colour}{word}{RESET}{rest}");
            }
            None => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests;
