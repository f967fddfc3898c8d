//! The kernels that there are: Debian's, one of each long-lived line, and the newest.

use anyhow::{Result, bail};

/// A kernel line, and where Debian has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What a user calls it, and how the version of its package begins.
    pub(crate) name: &'static str,
    /// The suites to look in; the newest version of the line that is in one of them is taken.
    pub(super) suites: &'static [&'static str],
}

/// Oldest first.
pub(crate) const LINES: [Line; 4] = [
    Line { name: "5.10", suites: &["bullseye"] },
    Line { name: "6.1", suites: &["bookworm"] },
    Line { name: "6.12", suites: &["trixie"] },
    Line { name: "7", suites: &["trixie", "trixie-backports"] },
];

/// The line of a name as users write it: `6.12`, `7`, `7.x`.
pub(crate) fn find(name: &str) -> Result<Line> {
    let wanted = name.trim_end_matches(".x");
    let Some(line) = LINES.iter().find(|line| line.name == wanted) else {
        let names = LINES.map(|line| line.name).join(", ");
        bail!("failed to find a kernel `{name}`\nthere are {names}");
    };
    Ok(*line)
}

impl Line {
    /// Whether a package's version is one of this line: `6.1` has `6.1.176-1`, but not `6.12.117-1`.
    pub(super) fn has(self, version: &str) -> bool {
        version.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines() {
        assert_eq!(find("6.1").unwrap().name, "6.1");
        assert_eq!(find("7.x").unwrap().name, "7");
        assert!(find("6").unwrap_err().to_string().contains("5.10, 6.1, 6.12, 7"));
    }

    #[test]
    fn a_line_is_no_prefix() {
        let line = find("6.1").unwrap();
        assert!(line.has("6.1.176-1") && !line.has("6.12.117-1") && !line.has("6"));
        assert!(find("7").unwrap().has("7.3.4-1~bpo13+1"));
    }
}
