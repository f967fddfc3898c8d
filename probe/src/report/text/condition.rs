//! The network conditions of the phases, what was asked beside what was measured.

use std::fmt::Write as _;

use super::WIDTH;
use super::format::{NONE, bytes, integer, maybe_seconds, percent, plain, seconds, three_digits, wrap};
use super::section::table;
use crate::report::model::{Condition, Report};

/// What echoes met, and what became of the traffic.
pub(super) fn conditions(report: &Report) -> String {
    if report.conditions.is_empty() {
        return String::new();
    }
    let rows = report.conditions.iter().flat_map(rows);
    let mut out = table(&["NETWORK CONDITIONS", "asked", "before", "during", "after"], rows, WIDTH);
    for found in &report.conditions {
        let verdict = if found.is_proved { "proved" } else { "NOT PROVED" };
        let place = if found.device.is_empty() {
            String::new()
        } else {
            format!(", {} on {}", plain(&found.scope), plain(&found.device))
        };
        let line = format!(
            "{}: {verdict}{place}; {} packets of {} met it, {} lost, {} overflowed{}",
            title(found),
            integer(found.packets),
            bytes(found.bytes),
            integer(found.lost),
            integer(found.overflowed),
            found.seed.map_or_else(String::new, |seed| format!(", seed {seed}")),
        );
        let _ = writeln!(out, "{}", wrap(&line, WIDTH, 2));
        for (word, texts) in [("problem", &found.problems), ("note", &found.notes)] {
            for text in texts {
                let _ = writeln!(out, "{}", wrap(&format!("  {word}: {}", plain(text)), WIDTH, 4));
            }
        }
    }
    out
}

fn title(found: &Condition) -> String {
    format!("{} in {}", plain(&found.condition), plain(&found.phase))
}

/// One row for each thing that was asked for.
fn rows(found: &Condition) -> Vec<[String; 5]> {
    let title = title(found);
    let share = |ratio: Option<f64>| ratio.map_or_else(|| NONE.to_owned(), percent);
    // Networks are spoken of in bits.
    let bits = |per_s: Option<f64>| per_s.map_or_else(|| NONE.to_owned(), kbit);
    let mut rows = Vec::new();
    if !found.device.is_empty() {
        rows.push([
            format!("{title}: round trip"),
            format!("+{}", seconds(found.rtt_asked_s)),
            maybe_seconds(found.rtt_before_s),
            maybe_seconds(found.rtt_during_s),
            maybe_seconds(found.rtt_after_s),
        ]);
        rows.push([
            format!("{title}: loss"),
            percent(found.loss_asked_ratio),
            share(found.loss_before_ratio),
            share(found.loss_during_ratio),
            share(found.loss_after_ratio),
        ]);
    }
    for rate in &found.rates {
        rows.push([
            format!("{title}: rate {}", plain(&rate.direction)),
            kbit(rate.asked_per_s),
            bits(rate.before_per_s),
            bits(rate.during_per_s),
            bits(rate.after_per_s),
        ]);
    }
    rows
}

fn kbit(per_s: f64) -> String {
    format!("{} kbit/s", three_digits(per_s / 125.0))
}
