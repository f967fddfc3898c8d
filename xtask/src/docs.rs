//! `cargo xtask docs`: writes the README's tables of what is seen and what is not from `tests/seen.json`, the list whose
//! trials the kernel tests hold against those that they have.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::between::replaced;
use crate::paths;
use crate::say::say;

const LIST: &str = "tests/seen.json";
const README: &str = "README.md";
const BEGIN: &str = "<!-- seen: written by `cargo xtask docs` from tests/seen.json -->\n";
const END: &str = "<!-- end of seen -->\n";

/// A table: the list's part, the heads of its columns, and what stands in them.
const TABLES: [(&str, &[&str], &[&str]); 3] = [
    ("seen", &["", "seen", "how"], &["what", "seen", "how"]),
    ("unseen", &["not seen", "what the report says"], &["what", "told"]),
    ("proved", &["tried on", "trials of `cargo xtask test`"], &["what", "trials"]),
];

pub(crate) fn run() -> Result<()> {
    let path = paths::root().join(README);
    let (text, wanted) = texts()?;
    if text == wanted {
        say!("docs: `{README}` is what the list says");
        return Ok(());
    }
    fs::write(&path, wanted).with_context(|| format!("failed to write `{}`", path.display()))?;
    say!("docs: wrote `{README}`");
    Ok(())
}

/// The README as it is, and as it should be.
fn texts() -> Result<(String, String)> {
    let read = |name: &str| {
        let path = paths::root().join(name);
        fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))
    };
    let list: Value =
        serde_json::from_str(&read(LIST)?).with_context(|| format!("failed to parse `{LIST}`"))?;
    let text = read(README)?;
    let wanted =
        replaced(&text, BEGIN, END, &tables(&list)?).with_context(|| format!("failed to edit `{README}`"))?;
    Ok((text, wanted))
}

fn tables(list: &Value) -> Result<String> {
    let mut text = String::new();
    for (part, heads, fields) in TABLES {
        let rows = list[part].as_array().with_context(|| format!("`{LIST}` has no list `{part}`"))?;
        let _ = write!(text, "\n| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for row in rows {
            let cells = fields.iter().map(|field| cell(&row[field]));
            let cells = cells.collect::<Option<Vec<_>>>();
            let cells =
                cells.with_context(|| format!("an entry of `{part}` in `{LIST}` lacks a field: {row}"))?;
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    Ok(text + "\n")
}

/// A text as it is, names between backticks.
fn cell(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(names) => {
            let names = names.iter().map(|name| Some(format!("`{}`", name.as_str()?.trim_end_matches("::"))));
            names.collect::<Option<Vec<_>>>()?.join(", ")
        }
        _ => return None,
    };
    (!text.contains(['|', '\n'])).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_is_what_the_list_says() {
        let (text, wanted) = texts().unwrap();
        assert!(text == wanted, "the README's tables are stale: run `cargo xtask docs`");
    }

    #[test]
    fn what_would_break_a_table_is_refused() {
        let list = serde_json::json!({"seen": [{"what": "a", "seen": "b | c", "how": "d"}]});
        assert!(tables(&list).is_err());
    }
}
