//! Reads the stage rules of a profile: `[stages]` and `[[stage]]`.

use toml::de::DeTable;

use super::{Reader, Value};
use crate::profile::route::Route;
use crate::profile::stage::{FilePattern, StageBy, StageRule, StageRules};

const MAX_RULES: usize = 100;
const MAX_STAGES: usize = 120;
const MAX_INDEX: i64 = 999_999;

impl Reader {
    pub(super) fn stages(&mut self, whole: Option<&Value<'_>>, each: Option<&Value<'_>>) -> StageRules {
        let mut rules = StageRules::default();
        if let Some(table) = whole.and_then(|value| self.table(value, "stages")) {
            self.check_keys(table, &["order", "begins", "edits", "resumes"]);
            rules.order = self.order(table);
            rules.begins = table.get("begins").and_then(|value| self.file_pattern(value, "begins"));
            rules.edits = self.some_routes(table, "edits");
            rules.resumes = self.some_routes(table, "resumes");
        }
        for (table, at) in self.tables(each, "stage", MAX_RULES) {
            rules.rules.extend(self.stage(table, at));
        }
        if rules.rules.is_empty() && each.is_none() {
            StageRules { rules: StageRules::guessed().rules, is_guess: true, ..rules }
        } else {
            rules
        }
    }

    fn order(&mut self, table: &DeTable<'_>) -> Vec<String> {
        let Some(value) = table.get("order") else { return Vec::new() };
        let Some(items) = self.array(value, "order") else { return Vec::new() };
        let mut order: Vec<String> = Vec::new();
        for item in items {
            let Some(name) = self.string(item, "stage") else { continue };
            if order.contains(&name) {
                self.error(item.span().start, format!("stage `{name}` stands twice"));
            }
            order.push(name);
        }
        if order.len() > MAX_STAGES {
            self.error(value.span().start, format!("more than {MAX_STAGES} stages"));
        }
        order
    }

    fn some_routes(&mut self, table: &DeTable<'_>, key: &str) -> Vec<Route> {
        let Some(items) = table.get(key).and_then(|value| self.array(value, key)) else { return Vec::new() };
        let mut routes = Vec::new();
        for item in items {
            let Some(text) = self.string(item, "route") else { continue };
            match Route::parse(&text) {
                Ok(route) => routes.push(route),
                Err(problem) => self.error(item.span().start, problem),
            }
        }
        routes
    }

    fn file_pattern(&mut self, value: &Value<'_>, what: &str) -> Option<FilePattern> {
        let text = self.string(value, what)?;
        FilePattern::parse(&text)
            .map_err(|problem| self.error(value.span().start, format!("`{what}` `{text}`: {problem}")))
            .ok()
    }

    fn stage(&mut self, table: &DeTable<'_>, at: usize) -> Option<StageRule> {
        self.check_keys(table, &["file", "endpoint", "name", "index"]);
        let name = table.get("name").and_then(|_| self.word(table, "name", at, "the stage"));
        let index = table.get("index").and_then(|value| self.integer(value, "index", 0..=MAX_INDEX));
        let index = index.and_then(|index| u32::try_from(index).ok());
        let (source, by) = match (table.get("file"), table.get("endpoint")) {
            (Some(value), None) => {
                let source = self.string(value, "file")?;
                (source, StageBy::File(self.file_pattern(value, "file")?))
            }
            (None, Some(value)) => {
                let source = self.string(value, "endpoint")?;
                let Some((method, path)) = source.split_once(' ').filter(|(_, path)| path.starts_with('/'))
                else {
                    self.error(value.span().start, "`endpoint` must be `METHOD /path`");
                    return None;
                };
                let path = FilePattern::parse(path);
                let path = path.map_err(|problem| self.error(value.span().start, problem)).ok()?;
                let by = StageBy::Endpoint { method: method.to_owned(), path };
                if name.is_none() && !source.contains("{stage}") {
                    self.error(at, "a stage that is an endpoint needs a `name`");
                }
                (source, by)
            }
            _ => {
                self.error(at, "a stage needs either `file` or `endpoint`");
                return None;
            }
        };
        Some(StageRule { source, stage: name, index, by })
    }
}
