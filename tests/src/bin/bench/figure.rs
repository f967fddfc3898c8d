//! One figure: its values off and on in the order of the rounds, their ratio with its interval, and its budget.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Something that was measured in each round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) part: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    /// Without probe, or without that whose price this is; empty where nothing of the kind exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) off: Vec<f64>,
    pub(crate) on: Vec<f64>,
    /// The most that it may be: of `on / off - 1`, or of `on` where there is no `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<f64>,
}

/// The middle of some values, and between what the true one lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) middle: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// What an interval must hold the true middle with, where so few rounds can show it.
const CONFIDENCE: f64 = 0.9;

impl Figure {
    /// Values off and on.
    pub(crate) fn pairs(name: impl Into<String>, unit: &str, off: &[f64], on: &[f64]) -> Self {
        let (off, on) = (off.to_vec(), on.to_vec());
        Self { part: String::new(), name: name.into(), unit: unit.to_owned(), off, on, budget: None }
    }

    /// Values that exist with probe alone.
    pub(crate) fn of(name: impl Into<String>, unit: &str, on: &[f64]) -> Self {
        Self::pairs(name, unit, &[], on)
    }

    pub(crate) fn within(self, budget: f64) -> Self {
        Self { budget: Some(budget), ..self }
    }

    pub(crate) fn is_paired(&self) -> bool {
        !self.off.is_empty()
    }

    /// The change of each round, or the values themselves where there is nothing to compare them with.
    pub(crate) fn interval(&self) -> Interval {
        if self.is_paired() {
            let changes = self.off.iter().zip(&self.on).map(|(off, on)| on / off - 1.0);
            interval(changes.collect())
        } else {
            interval(self.on.clone())
        }
    }
}

/// The middle value; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    interval(values.to_vec()).middle
}

/// The median and the narrowest order-statistic interval around it that holds the true one in nine cases of ten (Hahn and
/// Meeker, Statistical Intervals, 5.2); of fewer than five values all of them.
pub(crate) fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let Some(last) = n.checked_sub(1) else { return Interval { middle: 0.0, low: 0.0, high: 0.0 } };
    // Chance that no more than `cut` of the values lie on one side of the true median.
    let mut beyond = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let (mut cut, mut next) = (0, beyond);
    while cut < last / 2 {
        next *= (n - cut) as f64 / (cut + 1) as f64;
        if 1.0 - 2.0 * (beyond + next) < CONFIDENCE {
            break;
        }
        beyond += next;
        cut += 1;
    }
    Interval {
        middle: f64::midpoint(values[last / 2], values[n / 2]),
        low: values[cut],
        high: values[last - cut],
    }
}

/// What a part measured, in 80 columns.
pub(crate) fn table(part: &str, figures: &[Figure]) -> String {
    let mut text = format!("{part:<40}{:>8}{:>8}{:>24}\n", "off", "on", "change");
    for figure in figures {
        let name = format!("{}, {}", figure.name, figure.unit);
        let off = if figure.is_paired() { short(median(&figure.off)) } else { String::new() };
        let Interval { middle, low, high } = figure.interval();
        let change = if figure.is_paired() {
            format!("{} ({}…{})", percent(middle), percent(low), percent(high))
        } else {
            format!("({}…{})", short(low), short(high))
        };
        let _ = writeln!(text, "{name:<40}{off:>8}{:>8}{change:>24}", short(median(&figure.on)));
    }
    text
}

/// Each figure that has a budget, and whether it is kept: for certain, for certain not, or not to be told.
pub(crate) fn budgets(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let Some(budget) = figure.budget else { continue };
        let Interval { middle, low, high } = figure.interval();
        let kept = match () {
            () if high <= budget => "kept",
            () if low > budget => "exceeded",
            () => "open",
        };
        let show = if figure.is_paired() { percent } else { short };
        let name = format!("{}: {}, {}", figure.part, figure.name, figure.unit);
        let _ = writeln!(text, "{name:<51}{:>9}{:>10}  {kept}", show(budget), show(middle));
    }
    if text.is_empty() { text } else { format!("{:<51}{:>9}{:>10}\n{text}", "budget", "at most", "measured") }
}

pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 10.0 { format!("{percent:+.1}%") } else { format!("{percent:+.0}%") }
}

pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
