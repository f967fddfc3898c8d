//! Rules on any file: its head, its length, its white space, no path of one's own machine.

use super::source::numbered;
use super::{Tree, Violation};

/// Past this a file is two files. Aim at 250.
const MAX_LINES: usize = 400;
/// Where people's files lie. Written in two parts, or this file would break its own rule.
const HOMES: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// A source file begins by saying what it is for.
pub(super) fn heads(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        let kind = path.rsplit('.').next().unwrap_or_default();
        let is_script = kind != "rs" && text.starts_with("#!");
        let first = text.lines().nth(usize::from(is_script)).unwrap_or_default();
        let (ok, wanted) = match kind {
            "rs" => (first.starts_with("//! "), "//!"),
            "py" => (first.starts_with("\"\"\"") && first.len() > 3, "a docstring"),
            "sh" | "run" => (is_script && first.starts_with("# "), "#! and a comment"),
            _ => continue,
        };
        if !ok && is_source(path, text) {
            found.push(Violation::new(
                path,
                1,
                format!("begin with {wanted} that says what the file is for"),
            ));
        }
    }
    found
}

pub(super) fn lengths(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        let n_lines = text.lines().count();
        let is_code = [".rs", ".py", ".sh"].iter().any(|suffix| path.ends_with(suffix));
        if is_code && n_lines > MAX_LINES {
            found.push(Violation::new(path, 0, format!("{n_lines} lines, split it at {MAX_LINES}")));
        }
    }
    found
}

pub(super) fn whitespace(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        for (number, line) in numbered(text) {
            if line.ends_with([' ', '\t', '\r']) {
                found.push(Violation::new(path, number, "trailing white space"));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            found.push(Violation::new(path, 0, "no newline at the end"));
        }
    }
    found
}

pub(super) fn home_paths(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree {
        for (number, line) in numbered(text) {
            if let Some(home) = HOMES.iter().find(|home| line.contains(*home)) {
                found.push(Violation::new(
                    path,
                    number,
                    format!("a path under {home} exists on one machine only"),
                ));
            }
        }
    }
    found
}

/// An empty `__init__.py` only marks a package.
fn is_source(path: &str, text: &str) -> bool {
    !(path.ends_with("__init__.py") && text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn heads_are_needed() {
        let good = tree(&[
            ("a.rs", "//! Does it.\n"),
            ("a.py", "\"\"\"Does it.\"\"\"\n"),
            ("b.py", "#!/usr/bin/env python3\n\"\"\"Does it.\"\"\"\n"),
            ("p/__init__.py", ""),
            ("a.sh", "#!/bin/sh\n# Does it.\n"),
            ("a.toml", "a = 1\n"),
        ]);
        assert_eq!(heads(&good), []);
        let bad = tree(&[
            ("a.rs", "use x;\n"),
            ("a.py", "import os\n"),
            ("a.sh", "#!/bin/sh\nset -e\n"),
            ("b.rs", ""),
        ]);
        assert_eq!(heads(&bad).len(), 4);
    }

    #[test]
    fn long_files_are_split() {
        assert_eq!(lengths(&tree(&[("a.rs", &"//! x\n".repeat(400)), ("a.md", &"x\n".repeat(900))])), []);
        assert_eq!(lengths(&tree(&[("a.rs", &"//! x\n".repeat(401))])).len(), 1);
    }

    #[test]
    fn white_space_is_seen() {
        assert_eq!(whitespace(&tree(&[("a.md", "a\n\nb\n"), ("b.md", "")])), []);
        assert_eq!(whitespace(&tree(&[("a.toml", "a = 1 \n"), ("b.md", "x\t\ny")])).len(), 3);
    }

    #[test]
    fn home_paths_are_seen() {
        assert_eq!(home_paths(&tree(&[("a.md", "~/.cache and $HOME/x\n")])), []);
        assert_eq!(home_paths(&tree(&[("a.md", concat!("in /ho", "me/me/x\n"))])).len(), 1);
    }
}
