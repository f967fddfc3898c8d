//! Reads the result lines of cargo's test harness, libtest-mimic and pytest, and adds them up.

use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
}

impl Summary {
    /// The counts of a line if it is a result line, else nothing.
    pub(super) fn of_line(line: &str) -> Self {
        let counts =
            line.strip_prefix("test result: ").map_or_else(|| pytest(line), |rest| Some(cargo(rest)));
        counts.unwrap_or_default()
    }

    fn add(&mut self, count: u32, word: &str) {
        match word {
            "passed" | "xpassed" => self.passed += count,
            "failed" | "error" | "errors" => self.failed += count,
            "ignored" | "skipped" | "xfailed" => self.skipped += count,
            // "filtered out", "measured", "warnings": no tests that ran or were skipped for a reason.
            _ => {}
        }
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn cargo(rest: &str) -> Summary {
    let mut summary = Summary::default();
    for part in rest.split(['.', ';']) {
        if let Some((count, word)) = counted(part) {
            summary.add(count, word);
        }
    }
    summary
}

/// `12 passed, 1 skipped in 3.21s`, with `====` around it unless quiet.
fn pytest(line: &str) -> Option<Summary> {
    let line = line.trim_matches(|c| c == '=' || c == ' ');
    let (counts, time) = line.rsplit_once(" in ")?;
    time.split([' ', 's']).next()?.parse::<f64>().ok()?;
    let mut summary = Summary::default();
    for part in counts.split(", ") {
        let (count, word) = counted(part)?;
        summary.add(count, word);
    }
    Some(summary)
}

fn counted(part: &str) -> Option<(u32, &str)> {
    let (count, word) = part.trim().split_once(' ')?;
    Some((count.parse().ok()?, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_result_line() {
        for (line, passed, failed, skipped) in [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
                3,
                0,
                1,
            ),
            ("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", 10, 2, 0),
            ("12 passed in 3.21s", 12, 0, 0),
            ("1 failed, 11 passed, 2 skipped, 3 warnings in 63.21s (0:01:03)", 11, 1, 2),
            ("===== 4 passed, 1 error in 0.10s =====", 4, 1, 0),
            ("===== 5 deselected in 0.10s =====", 0, 0, 0),
            ("test engine::clock ... ok", 0, 0, 0),
            ("the server was up in 3.2s", 0, 0, 0),
            ("running 3 tests", 0, 0, 0),
            ("", 0, 0, 0),
        ] {
            assert_eq!(Summary::of_line(line), Summary { passed, failed, skipped }, "{line}");
        }
    }

    #[test]
    fn the_closing_line_is_plain() {
        let mut total = Summary { passed: 3, failed: 0, skipped: 1 };
        total += Summary { passed: 4, failed: 1, skipped: 0 };
        assert_eq!(total.to_string(), "7 passed, 1 failed, 1 skipped");
    }
}
