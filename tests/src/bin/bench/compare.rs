//! Two measurements of the same figures: which are certainly better or worse, and how many cannot be told apart.

use std::fmt::Write as _;

use crate::{
    figure::{Figure, percent, short},
    results::Results,
};

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Better,
    Worse,
    /// The intervals meet.
    Unclear,
}

/// Costs are compared as shares where a figure has them: the speed of the machine goes out of these. Of all figures but a
/// rate less is better.
fn change(before: &Figure, now: &Figure) -> Change {
    let (before, now, is_rate) = (before.interval(), now.interval(), now.name.ends_with(": rate"));
    match () {
        () if now.high < before.low && !is_rate || now.low > before.high && is_rate => Change::Better,
        () if now.low > before.high || now.high < before.low => Change::Worse,
        () => Change::Unclear,
    }
}

pub(crate) fn table(before: &Results, now: &Results) -> String {
    let mut text = format!("{:<51}{:>9}{:>9}\n", format!("against {}", before.kernel), "before", "now");
    if !before.is_like(now) {
        text += "another kernel or another number of processors: nothing here compares like with like\n";
    }
    let (mut unclear, mut new) = (0, 0);
    for figure in &now.figures {
        let is_same = |other: &&Figure| other.part == figure.part && other.name == figure.name;
        let Some(earlier) = before.figures.iter().find(is_same) else {
            new += 1;
            continue;
        };
        let said = match change(earlier, figure) {
            Change::Better => "better",
            Change::Worse => "worse",
            Change::Unclear => {
                unclear += 1;
                continue;
            }
        };
        let show = if figure.is_paired() { percent } else { short };
        let name = format!("{}: {}, {}", figure.part, figure.name, figure.unit);
        let (was, is) = (show(earlier.interval().middle), show(figure.interval().middle));
        let _ = writeln!(text, "{name:<51}{was:>9}{is:>9}  {said}");
    }
    let _ = writeln!(text, "{unclear} figures whose intervals meet, {new} new ones");
    text
}
