//! From the text of a condition to its types, collecting every error on the way, with its line.
//!
//! ```toml
//! name = "poor"
//! delay = "100ms"            # of each direction, unless `delay_is = "round-trip"`: then half of it
//! loss = "1.5%"
//! up = { rate = "768kbit" }  # from the client to the service; `down` is the way back
//! [sources]
//! delay = "where the value comes from"
//! ```

mod link;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::condition::{Condition, Link};
use super::schedule::{Flap, Schedule, Step, Trace};
use crate::profile::{ProfileErrors, nearest};

/// A longer file is no condition, bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_STEPS: usize = 10_000;
const LINK_KEYS: [&str; 15] = [
    "delay",
    "jitter",
    "delay_correlation",
    "distribution",
    "loss",
    "loss_correlation",
    "loss_bursts",
    "loss_states",
    "corrupt",
    "duplicate",
    "reorder",
    "gap",
    "rate",
    "burst",
    "queue",
];
const TOP_KEYS: [&str; 11] =
    ["name", "about", "delay_is", "sources", "up", "down", "step", "flap", "trace", "seed", "ecn"];

/// The conditions that come with the program: name and text.
pub const BUILTIN: [(&str, &str); 11] = [
    ("remote-50ms", include_str!("../../../profiles/net/remote-50ms.toml")),
    ("remote-100ms", include_str!("../../../profiles/net/remote-100ms.toml")),
    ("remote-200ms", include_str!("../../../profiles/net/remote-200ms.toml")),
    ("poor", include_str!("../../../profiles/net/poor.toml")),
    ("poor-2", include_str!("../../../profiles/net/poor-2.toml")),
    ("3g", include_str!("../../../profiles/net/3g.toml")),
    ("4g", include_str!("../../../profiles/net/4g.toml")),
    ("wifi-good", include_str!("../../../profiles/net/wifi-good.toml")),
    ("wifi-lossy", include_str!("../../../profiles/net/wifi-lossy.toml")),
    ("dsl", include_str!("../../../profiles/net/dsl.toml")),
    ("satellite", include_str!("../../../profiles/net/satellite.toml")),
];

/// Reads a condition by its name, or from a file.
pub fn load(name: &str) -> Result<Condition, ProfileErrors> {
    if let Some((_, text)) = BUILTIN.iter().find(|(builtin, _)| *builtin == name) {
        return parse(name, text, None, Path::new("."));
    }
    let path = PathBuf::from(name);
    let is_path = name.contains('/') || path.extension().is_some_and(|extension| extension == "toml");
    if !is_path {
        let names = BUILTIN.map(|(name, _)| name);
        let hint = nearest(name, names).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let message = format!("no such condition{hint}; there are {}, or name a file", names.join(", "));
        return Err(ProfileErrors::of_file(name.to_owned(), message));
    }
    let text = read_text(&path).map_err(|message| ProfileErrors::of_file(name.to_owned(), message))?;
    parse(name, &text, None, path.parent().unwrap_or(Path::new(".")))
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !size.is_file() {
        return Err("it is not a file".to_owned());
    }
    if size.len() > MAX_FILE_BYTES {
        return Err(format!("it is longer than {} MiB", MAX_FILE_BYTES >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Reads a condition's text; with a base, what the text does not say stays as it is there. Files that it names are
/// looked for in `folder`.
pub fn parse(
    label: &str,
    text: &str,
    base: Option<&Condition>,
    folder: &Path,
) -> Result<Condition, ProfileErrors> {
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    if !syntax_errors.is_empty() {
        let errors = syntax_errors
            .iter()
            .map(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()));
        return Err(ProfileErrors::at_offsets(label.to_owned(), text, errors.collect()));
    }
    let mut reader = Reader { errors: Vec::new(), folder: folder.to_owned() };
    let condition = reader.condition(root.get_ref(), base);
    if reader.errors.is_empty() {
        Ok(condition)
    } else {
        Err(ProfileErrors::at_offsets(label.to_owned(), text, reader.errors))
    }
}

struct Reader {
    errors: Vec<(usize, String)>,
    folder: PathBuf,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader {
    fn error(&mut self, at: usize, message: impl Into<String>) {
        self.errors.push((at, message.into()));
    }

    fn condition(&mut self, root: &DeTable<'_>, base: Option<&Condition>) -> Condition {
        self.check_keys(root, &[&TOP_KEYS[..], &LINK_KEYS].concat());
        let name = self.string(root, "name");
        if name.is_none() && base.is_none() && root.get("name").is_none() {
            self.error(0, "the condition lacks `name`");
        }
        let is_round_trip = self.is_round_trip(root);
        let base_links = base.map_or_else(Default::default, |base| (base.up.clone(), base.down.clone()));
        let (up, down) = self.links(root, &base_links.0, &base_links.1, is_round_trip);
        let mut schedule = base.map(|base| base.schedule.clone()).unwrap_or_default();
        self.schedule(root, &up, &down, is_round_trip, &mut schedule);
        let seed = root.get("seed").and_then(|value| self.take(value, "seed", value::whole));
        let sources = root.get("sources").and_then(|value| self.table(value, "sources")).map(|table| {
            let source = |(key, value): (&Spanned<_>, &Value<'_>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Some((key.to_string(), value.get_ref().as_str()?.to_owned()))
            };
            table.iter().filter_map(source).collect()
        });
        Condition {
            name: name.or_else(|| base.map(|base| base.name.clone())).unwrap_or_default(),
            about: self.string(root, "about").or_else(|| base.and_then(|base| base.about.clone())),
            sources: sources.or_else(|| base.map(|base| base.sources.clone())).unwrap_or_default(),
            up,
            down,
            schedule,
            seed: seed.or_else(|| base.and_then(|base| base.seed)),
        }
    }

    fn is_round_trip(&mut self, root: &DeTable<'_>) -> bool {
        match root
            .get("delay_is")
            .map(|value| (value.span().start, value.get_ref().as_str().unwrap_or_default()))
        {
            None | Some((_, "one-way")) => false,
            Some((_, "round-trip")) => true,
            Some((at, _)) => {
                self.error(at, "`delay_is` must be \"one-way\" or \"round-trip\"");
                false
            }
        }
    }

    fn file(&mut self, at: usize, name: &str) -> Option<String> {
        read_text(&self.folder.join(name))
            .map_err(|error| self.error(at, format!("failed to read `{name}`: {error}")))
            .ok()
    }

    fn schedule(
        &mut self,
        root: &DeTable<'_>,
        up: &Link,
        down: &Link,
        is_round_trip: bool,
        schedule: &mut Schedule,
    ) {
        if let Some(value) = root.get("step") {
            schedule.steps = self.steps(value, up, down, is_round_trip);
        }
        if let Some(value) = root.get("flap")
            && let Some(table) = self.table(value, "flap")
        {
            self.check_keys(table, &["every", "away"]);
            let every = self.needed(table, "every", value.span().start, "flap", value::duration);
            let away = self.needed(table, "away", value.span().start, "flap", value::duration);
            if let (Some(every), Some(away)) = (every, away) {
                if away.is_zero() || away >= every || away < Duration::from_millis(1) {
                    self.error(value.span().start, "`away` must be at least 1ms and shorter than `every`");
                }
                schedule.flap = Some(Flap { every, away });
            }
        }
        if let Some(value) = root.get("trace")
            && let Some(table) = self.table(value, "trace")
        {
            self.check_keys(table, &["up", "down"]);
            for (key, place) in [("up", &mut schedule.trace_up), ("down", &mut schedule.trace_down)] {
                let Some(value) = table.get(key) else { continue };
                let Some(name) = value.get_ref().as_str() else {
                    self.error(value.span().start, format!("`{key}` is not the name of a file"));
                    continue;
                };
                *place = self.trace(value.span().start, name);
            }
        }
    }

    fn trace(&mut self, at: usize, name: &str) -> Option<Trace> {
        let text = self.file(at, name)?;
        Trace::parse(&text)
            .map_err(|errors| {
                self.errors.extend(
                    errors.into_iter().map(|(line, what)| (at, format!("line {line} of `{name}`: {what}"))),
                );
            })
            .ok()
    }

    fn steps(&mut self, value: &Value<'_>, up: &Link, down: &Link, is_round_trip: bool) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let Some(items) = value.get_ref().as_array().filter(|items| items.len() <= MAX_STEPS) else {
            self.error(value.span().start, format!("write each step as `[[step]]`, at most {MAX_STEPS}"));
            return steps;
        };
        let mut links = (up.clone(), down.clone());
        for item in items {
            let at = item.span().start;
            let Some(table) = self.table(item, "step") else { continue };
            self.check_keys(table, &[&LINK_KEYS[..], &["ecn", "at", "over", "up", "down"]].concat());
            let begins = self.needed(table, "at", at, "step", value::duration).unwrap_or_default();
            let over = self.key(table, "over", value::duration).unwrap_or_default();
            if steps.last().is_some_and(|last| last.at + last.over > begins) {
                self.error(at, "a step must begin after the one before it has ended");
            }
            let before = links.clone();
            links = self.links(table, &links.0, &links.1, is_round_trip);
            if links.0.distribution != before.0.distribution || links.1.distribution != before.1.distribution
            {
                self.error(at, "a step cannot change the `distribution`: the kernel cannot unset one");
            }
            steps.push(Step { at: begins, over, up: links.0.clone(), down: links.1.clone() });
        }
        steps
    }

    fn check_keys(&mut self, table: &DeTable<'_>, known: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = nearest(name, known.iter().copied()).map_or_else(
                    || format!(" (known here: {})", known.join(", ")),
                    |near| format!(" (did you mean `{near}`?)"),
                );
                self.error(key.span().start, format!("unknown key `{name}`{hint}"));
            }
        }
    }

    fn table<'t, 'i>(&mut self, value: &'t Value<'i>, what: &str) -> Option<&'t DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.error(value.span().start, format!("`{what}` is not a table"));
        }
        table
    }

    fn string(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        self.key(table, key, value::word)
    }

    fn key<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        read: fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        table.get(key).and_then(|value| self.take(value, key, read))
    }

    fn take<T>(
        &mut self,
        value: &Value<'_>,
        key: &str,
        read: fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        read(value.get_ref()).map_err(|what| self.error(value.span().start, format!("`{key}` {what}"))).ok()
    }

    fn needed<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        at: usize,
        whose: &str,
        read: fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if table.get(key).is_none() {
            self.error(at, format!("the {whose} lacks `{key}`"));
        }
        self.key(table, key, read)
    }
}

#[cfg(test)]
mod tests;
