//! One figure: its values off and on in the order of the rounds, their ratio with its interval, and its budget.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Something that was measured in each round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// One of so many of its kind that the README does without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_detail: bool,
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
        let (part, name, unit) = (String::new(), name.into(), unit.to_owned());
        Self { part, name, unit, off, on, budget: None, is_detail: false }
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

    /// As it is shown: off, on, and the change or between what values it lies.
    pub(crate) fn cells(&self) -> [String; 3] {
        let Interval { middle, low, high } = self.interval();
        let on = short(median(&self.on));
        if self.is_paired() {
            let change = format!("{} ({}…{})", percent(middle), percent(low), percent(high));
            [short(median(&self.off)), on, change]
        } else {
            [String::new(), on, format!("{}…{}", short(low), short(high))]
        }
    }

    /// Its budget, what it is, and whether it is kept: for certain, for certain not, or not to be told; none without a
    /// budget.
    pub(crate) fn verdict(&self) -> Option<[String; 3]> {
        let budget = self.budget?;
        let Interval { middle, low, high } = self.interval();
        let kept = match () {
            () if high <= budget => "kept",
            () if low > budget => "exceeded",
            () => "open",
        };
        let show = if self.is_paired() { percent } else { short };
        Some([show(budget), show(middle), kept.to_owned()])
    }

    /// The same with five digits of each value: more than any of them is worth.
    pub(crate) fn rounded(&self) -> Self {
        let round = |values: &[f64]| {
            values.iter().map(|value| format!("{value:.4e}").parse().unwrap_or(*value)).collect()
        };
        Self { off: round(&self.off), on: round(&self.on), ..self.clone() }
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

/// What a part measured.
pub(crate) fn table(part: &str, figures: &[Figure]) -> String {
    let name = |figure: &Figure| format!("{}, {}", figure.name, figure.unit);
    let wide = figures.iter().map(|figure| name(figure).len()).max().unwrap_or_default().max(part.len());
    let mut text = format!("{part:<wide$}{:>8}{:>8}{:>26}\n", "off", "on", "change");
    for figure in figures {
        let [off, on, change] = figure.cells();
        let _ = writeln!(text, "{:<wide$}{off:>8}{on:>8}{change:>26}", name(figure));
    }
    text
}

/// Each figure that has a budget.
pub(crate) fn budgets(figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let Some([budget, measured, verdict]) = figure.verdict() else { continue };
        let name = format!("{}: {}, {}", figure.part, figure.name, figure.unit);
        let _ = writeln!(text, "{name:<51}{budget:>9}{measured:>10}  {verdict}");
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
