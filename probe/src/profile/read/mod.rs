//! From the text of a profile to its types, collecting every error on the way.
//!
//! Walks the parser's table with its spans instead of using serde, which stops at the first error.

mod abort;
mod regression;
mod run;
mod stage;

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::line_and_column;
use super::value::{read_level, type_name};
use super::{Kind, Metric, Objective, Pattern, Profile, Route, Shape, nearest, sha256_hex};

/// Endpoints told apart when the profile does not say.
const DEFAULT_MAX_ENDPOINTS: usize = 200;
/// With more, the agent would outgrow its memory budget.
const HIGHEST_MAX_ENDPOINTS: usize = 1000;
/// Ids and names are words in tables.
const MAX_WORD_CHARS: usize = 60;
const MAX_OBJECTIVES: usize = 500;

/// Reads a profile, or says at which byte what is wrong.
pub(super) fn read(text: &str) -> Result<Profile, Vec<(usize, String)>> {
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { errors: Vec::new(), is_recovered: !syntax_errors.is_empty() };
    let profile = reader.profile(root.get_ref(), text);
    let Reader { mut errors, .. } = reader;

    // What the parser made of a broken line is not the user's: only its own error counts there.
    let mut broken_lines = Vec::new();
    let mut found = Vec::new();
    for error in syntax_errors {
        let offset = error.span().map_or(0, |span| span.start);
        let line = line_and_column(text, offset).0;
        if !broken_lines.contains(&line) {
            broken_lines.push(line);
            found.push((offset, error.message().to_owned()));
        }
    }
    errors.retain(|(offset, _)| {
        broken_lines.is_empty() || !broken_lines.contains(&line_and_column(text, *offset).0)
    });
    found.append(&mut errors);
    if found.is_empty() { Ok(profile) } else { Err(found) }
}

struct Reader {
    errors: Vec<(usize, String)>,
    /// The text has syntax errors: what seems to be missing may stand in a broken line.
    is_recovered: bool,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader {
    fn error(&mut self, offset: usize, message: impl Into<String>) {
        self.errors.push((offset, message.into()));
    }

    fn profile(&mut self, root: &DeTable<'_>, text: &str) -> Profile {
        self.check_keys(
            root,
            &[
                "name",
                "about",
                "routes",
                "endpoints",
                "phase",
                "load",
                "abort",
                "stages",
                "stage",
                "objective",
                "regression",
            ],
        );
        let name = self.word(root, "name", 0, "the profile");
        let about = root.get("about").and_then(|about| self.string(about, "about"));
        let routes = self.routes(root.get("routes"));
        let max_endpoints = self.max_endpoints(root.get("endpoints"));
        let phases = self.phases(root.get("phase"));
        let load = self.load(root.get("load"));
        let stages = self.stages(root.get("stages"), root.get("stage"));
        let aborts = self.aborts(root.get("abort"));
        let regressions = self.regressions(root.get("regression"));
        let objectives = self.objectives(root.get("objective"), &routes);
        self.check_phases(&phases, &objectives);
        self.check_aborts(&phases, &aborts, root.get("abort"));
        let objectives = objectives.into_iter().map(|(objective, _)| objective).collect();
        Profile {
            name: name.unwrap_or_default(),
            about,
            routes,
            max_endpoints,
            phases,
            load,
            stages,
            aborts,
            regressions,
            objectives,
            text: text.to_owned(),
            sha256: sha256_hex(text),
        }
    }

    fn routes(&mut self, value: Option<&Value<'_>>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        let Some(items) = value.and_then(|value| self.array(value, "routes")) else { return routes };
        for item in items {
            let Some(text) = self.string(item, "route") else { continue };
            match Route::parse(&text) {
                Err(message) => self.error(item.span().start, message),
                Ok(route) => {
                    let same =
                        |other: &&Route| other.method == route.method && other.segments == route.segments;
                    if let Some(other) = routes.iter().find(same) {
                        self.error(
                            item.span().start,
                            format!("route `{route}` is the same as `{other}` before it"),
                        );
                    } else {
                        routes.push(route);
                    }
                }
            }
        }
        if routes.len() > HIGHEST_MAX_ENDPOINTS {
            let at = value.map_or(0, |value| value.span().start);
            self.error(at, format!("more than {HIGHEST_MAX_ENDPOINTS} routes"));
        }
        routes
    }

    fn max_endpoints(&mut self, value: Option<&Value<'_>>) -> usize {
        let Some(table) = value.and_then(|value| self.table(value, "endpoints")) else {
            return DEFAULT_MAX_ENDPOINTS;
        };
        self.check_keys(table, &["max"]);
        let Some(max) = table.get("max") else { return DEFAULT_MAX_ENDPOINTS };
        let number = max.get_ref().as_integer();
        let number = number.and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
        number.filter(|number| (1..=HIGHEST_MAX_ENDPOINTS).contains(number)).unwrap_or_else(|| {
            let range = format!("`max` must be a whole number from 1 to {HIGHEST_MAX_ENDPOINTS}");
            self.error(max.span().start, range);
            DEFAULT_MAX_ENDPOINTS
        })
    }

    /// With the place of each.
    fn objectives(&mut self, value: Option<&Value<'_>>, routes: &[Route]) -> Vec<(Objective, usize)> {
        let mut objectives = Vec::new();
        let mut ids = BTreeSet::new();
        for (table, at) in self.tables(value, "objective", MAX_OBJECTIVES) {
            let id = self.word(table, "id", at, "the objective");
            let is_new = id.as_ref().is_none_or(|id| ids.insert(id.clone()));
            if !is_new {
                let place = table.get("id").map_or(at, |value| value.span().start);
                self.error(
                    place,
                    format!("another objective has the id `{}`", id.as_deref().unwrap_or_default()),
                );
            }
            let objective = self.objective(id.unwrap_or_default(), table, at, routes);
            objectives.extend(objective.map(|objective| (objective, at)));
        }
        objectives
    }

    fn objective(
        &mut self,
        id: String,
        table: &DeTable<'_>,
        at: usize,
        routes: &[Route],
    ) -> Option<Objective> {
        let subjects = Kind::ALL.map(Kind::key);
        self.check_keys(
            table,
            &[&["id"], subjects.as_slice(), &["phase", "key", "metric", "target", "limit"]].concat(),
        );
        let whose = if id.is_empty() { "the objective".to_owned() } else { format!("objective `{id}`") };
        let mut kinds = Kind::ALL.into_iter().filter_map(|kind| Some((kind, table.get(kind.key())?)));
        let named = kinds.next();
        if let Some((second, value)) = kinds.next() {
            self.error(
                value.span().start,
                format!("{whose} has a subject already: `{}` is one too many", second.key()),
            );
        }
        let kind = named.map_or(Kind::Endpoint, |(kind, _)| kind);
        let subject = named.and_then(|(kind, value)| self.subject(kind, value, routes));
        let metric = self.required(table, "metric", at, &whose).and_then(|value| self.metric(kind, value));
        let phase = table.get("phase").and_then(|value| self.string(value, "phase"));
        let key = table.get("key").map_or(Some(false), |value| self.flag(value, "key"));
        let target = self.required(table, "target", at, &whose);
        let limit = self.required(table, "limit", at, &whose);
        let metric = metric?;
        let mut level = |value: Option<&Value<'_>>, name: &str| {
            let value = value?;
            read_level(metric, value.get_ref())
                .map_err(|what| self.error(value.span().start, format!("`{name}` of {whose} {what}")))
                .ok()
        };
        // Both are read before either is given up: all mistakes are told at once.
        let levels = (level(target, "target"), level(limit, "limit"));
        let (target, limit_level) = (levels.0?, levels.1?);
        let higher_is_better = metric.quantity.higher_is_better;
        let is_stricter = if higher_is_better { limit_level > target } else { limit_level < target };
        if is_stricter {
            let (better, wrong) = if higher_is_better { ("more", "above") } else { ("less", "below") };
            self.error(
                limit.map_or(at, |value| value.span().start),
                format!(
                    "`limit` of {whose} is stricter than its `target`: {better} is better for `{metric}`, \
                     so the limit must not be {wrong} the target"
                ),
            );
        }
        Some(Objective { id, subject, phase, key: key?, metric, target, limit: limit_level })
    }

    fn metric(&mut self, kind: Kind, value: &Value<'_>) -> Option<Metric> {
        let name = self.string(value, "metric")?;
        let metric = Metric::parse(kind, &name);
        if metric.is_none() {
            let known: Vec<String> = Metric::all(kind).map(|metric| metric.to_string()).collect();
            let has_percentiles = |wanted: &str| {
                let mut quantities = kind.quantities().iter();
                quantities.any(|known| known.name == wanted && known.shape == Shape::Durations)
            };
            let is_percentile = name
                .rsplit_once(".p")
                .is_some_and(|(quantity, n)| has_percentiles(quantity) && n.parse::<f64>().is_ok());
            let hint = if is_percentile {
                " (percentiles are p50, p90, p95, p99 and p999)".to_owned()
            } else {
                suggestion(&name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                    let names: Vec<&str> = kind.quantities().iter().map(|known| known.name).collect();
                    format!(" (measured of each {}: {})", kind.key(), names.join(", "))
                })
            };
            self.error(value.span().start, format!("unknown metric `{name}`{hint}"));
        }
        metric
    }

    fn subject(&mut self, kind: Kind, value: &Value<'_>, routes: &[Route]) -> Option<Pattern> {
        let text = self.string(value, kind.key())?;
        match Pattern::parse(kind, &text) {
            Err(message) => self.error(value.span().start, message),
            Ok(pattern) => {
                if let Some(name) = other_spelling(&pattern, routes) {
                    self.error(
                        value.span().start,
                        format!("endpoint `{text}` would never be seen: its route is written `{name}`"),
                    );
                }
                return Some(pattern);
            }
        }
        None
    }

    fn check_keys(&mut self, table: &DeTable<'_>, known: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = suggestion(name, known.iter().copied())
                    .unwrap_or_else(|| format!(" (known here: {})", known.join(", ")));
                self.error(key.span().start, format!("unknown key `{name}`{hint}"));
            }
        }
    }

    fn required<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        key: &str,
        at: usize,
        whose: &str,
    ) -> Option<&'t Value<'i>> {
        let value = table.get(key);
        if value.is_none() && !self.is_recovered {
            self.error(at, format!("{whose} lacks `{key}`"));
        }
        value
    }

    /// A required string that is fit to stand in a table.
    fn word(&mut self, table: &DeTable<'_>, key: &str, at: usize, whose: &str) -> Option<String> {
        let value = self.required(table, key, at, whose)?;
        let word = self.string(value, key)?;
        let is_fit = !word.trim().is_empty()
            && word.chars().count() <= MAX_WORD_CHARS
            && word.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !is_fit {
            self.error(
                value.span().start,
                format!("`{key}` must be 1 to {MAX_WORD_CHARS} printable ASCII characters"),
            );
        }
        is_fit.then_some(word)
    }

    fn string(&mut self, value: &Value<'_>, what: &str) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(value, what, "a string");
        }
        text
    }

    fn array<'t, 'i>(&mut self, value: &'t Value<'i>, what: &str) -> Option<&'t toml::de::DeArray<'i>> {
        let array = value.get_ref().as_array();
        if array.is_none() {
            self.wrong_type(value, what, "an array");
        }
        array
    }

    fn table<'t, 'i>(&mut self, value: &'t Value<'i>, what: &str) -> Option<&'t DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value, what, "a table");
        }
        table
    }

    fn wrong_type(&mut self, value: &Value<'_>, what: &str, wanted: &str) {
        self.error(value.span().start, format!("`{what}` is {}, not {wanted}", type_name(value.get_ref())));
    }
}

fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|known| format!(" (did you mean `{known}`?)"))
}

/// The right name where the objective names a route of the profile with other parameter names.
fn other_spelling(pattern: &Pattern, routes: &[Route]) -> Option<String> {
    if pattern.kind() != Kind::Endpoint || pattern.is_wildcard() {
        return None;
    }
    let wanted = Route::parse(pattern.as_str()).ok()?;
    let same = |route: &&Route| {
        route.segments == wanted.segments && (route.method.is_none() || route.method == wanted.method)
    };
    let mut others = routes.iter().filter(same);
    let first = others.next()?;
    let is_seen = first.path == wanted.path || others.any(|route| route.path == wanted.path);
    let method = wanted.method.as_deref().unwrap_or_default();
    (!is_seen).then(|| format!("{method} {}", first.path))
}
