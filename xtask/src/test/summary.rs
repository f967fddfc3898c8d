//! Reads what cargo's test harness, libtest-mimic and pytest print: adds up the result lines, and keeps what is said of
//! each failed test, which would otherwise stand thousands of lines before the end.

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

/// What the test programs say of the failed tests.
#[derive(Debug, Default)]
pub(super) struct Failures {
    lines: Vec<String>,
    is_inside: bool,
    n_left_out: usize,
}

impl Failures {
    /// Lines that are kept: a broken machine fails every test.
    const MAX_LINES: usize = 300;

    /// Takes in a line of output. cargo's harness and libtest-mimic tell of all failures between two lines
    /// `failures:`, the second of which begins a list of names; pytest says one line each, `FAILED test - why`.
    pub(super) fn take(&mut self, line: &str) {
        if line == "failures:" {
            self.is_inside = !self.is_inside;
        } else if line.starts_with("test result: ") {
            self.is_inside = false;
        } else if (self.is_inside && !line.is_empty()) || is_pytests(line) {
            if self.lines.len() < Self::MAX_LINES {
                self.lines.push(line.to_owned());
            } else {
                self.n_left_out += 1;
            }
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        let room = Self::MAX_LINES.saturating_sub(self.lines.len());
        self.n_left_out += other.n_left_out + other.lines.len().saturating_sub(room);
        self.lines.extend(other.lines.into_iter().take(room));
    }
}

impl Display for Failures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        if self.n_left_out > 0 {
            writeln!(f, "and {} lines more, above", self.n_left_out)?;
        }
        Ok(())
    }
}

fn is_pytests(line: &str) -> bool {
    ["FAILED ", "ERROR "].iter().any(|word| line.strip_prefix(word).is_some_and(|rest| rest.contains("::")))
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
    fn what_is_said_of_failures_is_kept() {
        let output = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b ----\nlost 3\n\n\nfailures:\n    b\n\n\
            test result: FAILED. 1 passed; 1 failed\nrunning 1 test\nFAILED tests/x.py::c - assert 1 == 2\nFAILED\n";
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.take(line));
        assert_eq!(failures.to_string(), "---- b ----\nlost 3\nFAILED tests/x.py::c - assert 1 == 2\n");
    }

    #[test]
    fn what_is_kept_of_failures_is_bounded() {
        let (mut all, mut one) = (Failures::default(), Failures::default());
        one.take("failures:");
        (0..2 * Failures::MAX_LINES).for_each(|_| one.take("why"));
        all.take("FAILED tests/x.py::c - why");
        all.join(one);
        assert_eq!(all.lines.len(), Failures::MAX_LINES);
        assert!(all.to_string().ends_with(&format!("and {} lines more, above\n", Failures::MAX_LINES + 1)));
    }

    #[test]
    fn the_closing_line_is_plain() {
        let mut total = Summary { passed: 3, failed: 0, skipped: 1 };
        total += Summary { passed: 4, failed: 1, skipped: 0 };
        assert_eq!(total.to_string(), "7 passed, 1 failed, 1 skipped");
    }
}
