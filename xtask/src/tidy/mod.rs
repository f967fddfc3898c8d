//! `cargo xtask tidy`: the house rules that a program can check. They also run as a test of this package.
//!
//! A rule is a function from the tree's text to its violations, so each has a test that shows how it fails.

mod layers;
mod rooms;
mod source;
mod text;
mod words;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::say::say;

/// Directories that hold no source of ours: build output, results, caches.
const NOT_OURS: [&str; 7] =
    [".git", "target", "runs", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"];
/// Files that are checked; others (recordings, fixtures) are data.
const CHECKED: [&str; 6] = ["rs", "py", "sh", "toml", "md", "run"];

/// Every checked file by its path from the root, with `/` between the parts.
pub(super) type Tree = BTreeMap<String, String>;
type Rule = fn(&Tree) -> Vec<Violation>;

const RULES: [(&str, Rule); 10] = [
    ("head", text::heads),
    ("length", text::lengths),
    ("whitespace", text::whitespace),
    ("home path", text::home_paths),
    ("rooms", rooms::rooms),
    ("imports between rooms", rooms::imports),
    ("layers", layers::layers),
    ("forbidden words", words::forbidden),
    ("prints", words::prints),
    ("sleeps", words::sleeps),
];

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    path: String,
    /// From 1; 0 where the whole file or a missing one is meant.
    line: usize,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

pub(crate) fn run() -> Result<()> {
    let found = check(&read_tree(paths::root())?);
    for line in &found {
        say!("{line}");
    }
    if !found.is_empty() {
        bail!("failed {} house rules, see above", found.len());
    }
    Ok(())
}

fn check(tree: &Tree) -> Vec<String> {
    let lines = |&(name, rule): &(&str, Rule)| {
        rule(tree).into_iter().map(move |violation| format!("{violation} [{name}]")).collect::<Vec<_>>()
    };
    RULES.iter().flat_map(lines).collect()
}

fn read_tree(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = fs::read_dir(&dir).with_context(|| format!("failed to list `{}`", dir.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("failed to list `{}`", dir.display()))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_symlink() || NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                dirs.push(path);
            } else if CHECKED.contains(&name.rsplit('.').next().unwrap_or_default()) {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("failed to read `{}`", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                tree.insert(relative.to_string_lossy().into_owned(), text);
            }
        }
    }
    Ok(tree)
}

/// The files of a tree whose path begins with `folder` and ends with `suffix`.
fn files<'a>(tree: &'a Tree, folder: &'a str, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let fits = move |(path, text): (&'a String, &'a String)| {
        (path.starts_with(folder) && path.ends_with(suffix)).then_some((path.as_str(), text.as_str()))
    };
    tree.iter().filter_map(fits)
}

#[cfg(test)]
pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let found = check(&read_tree(paths::root()).unwrap());
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn a_violation_names_its_place() {
        let found = check(&tree(&[("a.rs", "//! Head.\nfn f() {} \n")]));
        assert!(found.iter().any(|line| line.starts_with("a.rs:2: ")), "{found:?}");
    }
}
