//! Every section of the report as a table, made from the data itself.
//!
//! For the forms that show all there is (HTML, Markdown): a section that the model gains appears in them by itself.
//! Titles and units come from the fields' names, which follow one rule: `_s` seconds, `_bytes` bytes, `_ratio` a share,
//! `_per_s` a rate, `_w` watts, `_j` joules, `_c` degrees, `_mhz` megahertz.

use serde_json::{Map, Value};

use super::model::Report;
use super::text::format::{NONE, bytes, integer, percent, seconds, three_digits};

/// A table with a title.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid {
    /// What it is about.
    pub(super) title: String,
    /// Names of its columns.
    pub(super) columns: Vec<String>,
    /// As many cells each as there are columns.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Not yet made harmless for where it will stand.
    pub(super) text: String,
    /// Aligned to the right.
    pub(super) is_number: bool,
}

/// Sections that have a form of their own everywhere.
const OWN: [&str; 13] = [
    "schema",
    "run",
    "health",
    "endpoints",
    "overall",
    "series",
    "resource_history",
    "gpu_history",
    "lock_waits",
    "objectives",
    "comparison",
    "warnings",
    "verdict",
];
/// Sections whose names are no words.
const NAMES: [(&str, &str); 2] = [("gpu", "GPUs"), ("sqlite", "SQLite")];
/// How the names of shares end.
const SHARES: [&str; 3] = ["ratio", "util", "busiest_thread"];
/// How the names of what has a unit end.
const UNITS: [(&str, &str); 4] = [("_w", "W"), ("_j", "J"), ("_c", "C"), ("_mhz", "MHz")];
/// Of a distribution, these.
const STATS: [&str; 4] = ["p50", "p95", "p99", "max"];
/// Deeper data is not a table any more.
const MAX_DEPTH: usize = 4;

/// The tables of a report, in its order.
pub(super) fn grids(report: &Report) -> Vec<Grid> {
    let mut found = Vec::new();
    if let Ok(Value::Object(sections)) = serde_json::to_value(report) {
        for (name, section) in sections.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
            // A run without phases has one, which says nothing.
            if !(name == "phases" && report.phases.len() < 2) {
                walk(&words(name), "", section, 0, &mut found);
            }
        }
    }
    found
}

/// `whose` names the rows that a nested table belongs to.
fn walk(title: &str, whose: &str, value: &Value, depth: usize, found: &mut Vec<Grid>) {
    match value {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
            let title = if whose.is_empty() { title.to_owned() } else { format!("{title}: {whose}") };
            found.extend(grid(&title, &objects));
            for object in objects {
                nested(&title, &name_of(object), object, depth, found);
            }
        }
        // A section of sections, or a single row.
        Value::Object(object) if !is_distribution(object) => {
            found.extend(grid(title, &[object]));
            nested(title, "", object, depth, found);
        }
        _ => {}
    }
}

fn nested(title: &str, whose: &str, object: &Map<String, Value>, depth: usize, found: &mut Vec<Grid>) {
    for (key, value) in object {
        let is_table = value.as_array().is_some_and(|items| items.iter().any(Value::is_object));
        if is_table && depth < MAX_DEPTH {
            walk(&format!("{title}, {}", words(key)), whose, value, depth + 1, found);
        }
    }
}

/// The first text of an object is its name.
fn name_of(object: &Map<String, Value>) -> String {
    object.values().find_map(Value::as_str).unwrap_or_default().to_owned()
}

/// One row per object; columns in the order of their first appearance, those left out in which nothing stands.
fn grid(title: &str, objects: &[&Map<String, Value>]) -> Option<Grid> {
    let rows: Vec<Vec<(String, Cell)>> = objects.iter().map(|object| cells("", object)).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, cell) in rows.iter().flatten() {
        let says_something = cell.text != NONE && !cell.text.is_empty();
        let is_run = name == "phase"
            && rows.iter().flatten().all(|(name, cell)| name != "phase" || cell.text == "run");
        if says_something && !is_run && !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    // A place where nothing stands is aligned as the others of its column.
    let is_text = |column: &str| rows.iter().flatten().any(|(name, cell)| name == column && !cell.is_number);
    let texts: Vec<bool> = columns.iter().map(|column| is_text(column)).collect();
    let cell = |row: &[(String, Cell)], column: &str, is_text: bool| {
        let found = row.iter().find(|(name, _)| name == column).map(|(_, cell)| cell.text.clone());
        Cell { text: found.unwrap_or_else(|| NONE.to_owned()), is_number: !is_text }
    };
    let cells = |row: &Vec<(String, Cell)>| {
        columns.iter().zip(&texts).map(|(column, is_text)| cell(row, column, *is_text)).collect()
    };
    let table = rows.iter().map(cells).collect();
    (!columns.is_empty()).then(|| Grid {
        title: title.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: table,
    })
}

fn cells(prefix: &str, object: &Map<String, Value>) -> Vec<(String, Cell)> {
    let mut row = Vec::new();
    for (key, value) in object {
        let name = if prefix.is_empty() { words(key) } else { format!("{prefix} {}", words(key)) };
        match value {
            Value::Object(inner) if is_distribution(inner) => {
                let stats = STATS.iter().filter(|stat| inner.contains_key(**stat));
                row.extend(stats.map(|stat| (format!("{name} {stat}"), scalar(key, &inner[*stat]))));
            }
            // Counts by a name, as of states or causes.
            Value::Object(inner) => row.extend(cells(&name, inner)),
            Value::Array(items) if items.iter().any(Value::is_object) => {}
            Value::Array(items) => {
                let texts: Vec<String> = items.iter().map(|item| scalar(key, item).text).collect();
                row.push((name, Cell { text: texts.join(", "), is_number: false }));
            }
            _ => row.push((name, scalar(key, value))),
        }
    }
    row
}

/// As the model writes them: a count, and percentiles.
fn is_distribution(object: &Map<String, Value>) -> bool {
    object.contains_key("p50") && object.contains_key("max")
}

/// A value in the unit that its name tells.
fn scalar(key: &str, value: &Value) -> Cell {
    let number = |text| Cell { text, is_number: true };
    let is_size = key.starts_with("bytes") || key.ends_with("bytes");
    match value {
        Value::Null => number(NONE.to_owned()),
        Value::Bool(value) => Cell { text: if *value { "yes" } else { "no" }.to_owned(), is_number: false },
        Value::String(text) => Cell { text: text.clone(), is_number: false },
        Value::Number(n) => number(match (n.as_u64(), n.as_f64()) {
            (_, Some(value)) if key.ends_with("_per_s") => format!("{}/s", three_digits(value)),
            (_, Some(value)) if key.ends_with("_s") => seconds(value),
            (_, Some(value)) if SHARES.iter().any(|share| key.ends_with(share)) => percent(value),
            (_, Some(value)) if unit(key).is_some() => {
                format!("{} {}", three_digits(value), unit(key).unwrap_or_default())
            }
            // No quantity, and of use only as a whole.
            _ if key == "seed" => n.to_string(),
            (Some(value), _) if is_size => bytes(value),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
            (None, Some(value)) if is_size => bytes(value as u64),
            (Some(value), _) => integer(value),
            (None, Some(value)) => three_digits(value),
            (None, None) => n.to_string(),
        }),
        Value::Array(_) | Value::Object(_) => number(NONE.to_owned()),
    }
}

/// Unit of a field whose name ends in it.
fn unit(key: &str) -> Option<&'static str> {
    UNITS.iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, unit)| *unit)
}

/// A field's name for people.
fn words(key: &str) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(own, _)| *own == key) {
        return (*name).to_owned();
    }
    let endings = ["_per_s", "_s", "_bytes", "_ratio"].into_iter().chain(UNITS.map(|(ending, _)| ending));
    let bare = endings.into_iter().find_map(|ending| key.strip_suffix(ending));
    let suffix = if key.ends_with("_per_s") { " per s" } else { "" };
    format!("{}{suffix}", bare.filter(|bare| !bare.is_empty()).unwrap_or(key).replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;
    use serde_json::json;

    fn of(value: &Value) -> Vec<Grid> {
        let mut found = Vec::new();
        walk("things", "", value, 0, &mut found);
        found
    }

    #[test]
    fn a_section_becomes_a_table_by_its_names() {
        let grids = of(&json!([
            {"database": "/a.db", "phase": "run", "wait_s": {"count": 1, "p50": 0.01, "p95": 0.02, "p99": null, "max": 0.02},
             "contention_ratio": 0.05, "bytes": 2048, "empty": null, "holders": [{"comm": "x", "holds": 3}]},
        ]));
        assert_eq!(grids[0].columns, ["database", "wait p50", "wait p95", "wait max", "contention", "bytes"]);
        let texts: Vec<&str> = grids[0].rows[0].iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(texts, ["/a.db", "10.0 ms", "20.0 ms", "20.0 ms", "5 %", "2.00 KiB"]);
        assert_eq!((grids[1].title.as_str(), grids[1].columns.len()), ("things, holders: /a.db", 2));
    }

    #[test]
    fn the_sections_of_a_report_are_found() {
        let titles: Vec<String> = grids(&report()).into_iter().map(|grid| grid.title).collect();
        assert_eq!(titles, ["accept, listeners", "syscalls"]);
    }
}
