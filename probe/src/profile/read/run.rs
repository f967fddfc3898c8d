//! Reading the plan of a run: `[[phase]]` and `[load]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::super::value::read_duration;
use super::super::{AbortRule, LoadPlan, Objective, PhasePlan};
use super::{Reader, Value, suggestion};

const MAX_PHASES: usize = 50;

impl Reader {
    pub(super) fn phases(&mut self, value: Option<&Value<'_>>) -> Vec<PhasePlan> {
        let mut names = BTreeSet::new();
        let mut phases = Vec::new();
        for (table, at) in self.tables(value, "phase", MAX_PHASES) {
            self.check_keys(table, &["name", "duration", "judged", "net", "load", "vars"]);
            let name = self.word(table, "name", at, "the phase");
            if let Some(name) = &name
                && !names.insert(name.clone())
            {
                self.error(at, format!("another phase has the name `{name}`"));
            }
            let whose = format!("phase `{}`", name.as_deref().unwrap_or_default());
            let duration =
                self.required(table, "duration", at, &whose).and_then(|value| self.span(value, "duration"));
            let judged = table.get("judged").map_or(Some(true), |value| self.flag(value, "judged"));
            let net = table.get("net").map_or_else(Vec::new, |value| self.conditions(value));
            let load = table.get("load").map(|value| self.command(value, "load"));
            let vars = table.get("vars").map_or_else(BTreeMap::new, |value| self.vars(value));
            if let (Some(name), Some(duration), Some(judged)) = (name, duration, judged) {
                phases.push(PhasePlan { name, duration, judged, net, load: load.flatten(), vars });
            }
        }
        if !phases.is_empty() && phases.iter().all(|phase| !phase.judged) {
            let at = value.map_or(0, |value| value.span().start);
            self.error(at, "no phase is judged, so that no objective could pass".to_owned());
        }
        phases
    }

    /// One condition, or a list of them.
    fn conditions(&mut self, value: &Value<'_>) -> Vec<String> {
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let named: Vec<String> = items.into_iter().filter_map(|item| self.string(item, "net")).collect();
        if named.is_empty() || named.iter().any(|name| name.trim().is_empty()) {
            self.error(
                value.span().start,
                "`net` names no condition, leave it out for a clean network".to_owned(),
            );
        }
        named
    }

    pub(super) fn load(&mut self, value: Option<&Value<'_>>) -> LoadPlan {
        let mut plan = LoadPlan::default();
        let Some(table) = value.and_then(|value| self.table(value, "load")) else { return plan };
        self.check_keys(table, &["command", "ok_exit_codes", "grace", "saturation"]);
        plan.command = table.get("command").and_then(|value| self.command(value, "command"));
        if let Some(codes) = table.get("ok_exit_codes").and_then(|value| self.array(value, "ok_exit_codes")) {
            plan.ok_exit_codes = codes.iter().filter_map(|value| self.exit_code(value)).collect();
        }
        if let Some(grace) = table.get("grace").and_then(|value| self.span(value, "grace")) {
            plan.grace = grace;
        }
        if let Some(value) = table.get("saturation") {
            match super::super::value::read_ratio(value.get_ref()) {
                Ok(ratio) if ratio > 0.0 => plan.saturation = ratio,
                Ok(_) => self.error(value.span().start, "`saturation` is zero".to_owned()),
                Err(what) => self.error(value.span().start, format!("`saturation` {what}")),
            }
        }
        plan
    }

    /// An objective that is bound to phases must be judged in one of them.
    pub(super) fn check_phases(&mut self, phases: &[PhasePlan], objectives: &[(Objective, usize)]) {
        if phases.is_empty() {
            return;
        }
        for (objective, at) in objectives {
            let Some(pattern) = &objective.phase else { continue };
            if !phases.iter().any(|phase| phase.judged && objective.binds_to(&phase.name)) {
                let judged = phases.iter().filter(|phase| phase.judged).map(|phase| phase.name.as_str());
                let hint = suggestion(pattern, judged.clone())
                    .unwrap_or_else(|| format!(" (judged are: {})", judged.collect::<Vec<_>>().join(", ")));
                self.error(*at, format!("objective `{}` binds to no judged phase{hint}", objective.id));
            }
        }
    }

    /// An abort rule that is bound to phases must be watched in one of them.
    pub(super) fn check_aborts(
        &mut self,
        phases: &[PhasePlan],
        rules: &[AbortRule],
        value: Option<&Value<'_>>,
    ) {
        let is_watched = |rule: &&AbortRule| phases.iter().any(|phase| rule.binds_to(Some(&phase.name)));
        let at = value.map_or(0, |value| value.span().start);
        for rule in rules.iter().filter(|rule| !phases.is_empty() && !is_watched(rule)) {
            self.error(at, format!("abort rule `{}` binds to no phase", rule.id));
        }
    }

    /// The tables of an array of tables, with their places.
    pub(super) fn tables<'t, 'i>(
        &mut self,
        value: Option<&'t Value<'i>>,
        what: &str,
        max: usize,
    ) -> Vec<(&'t DeTable<'i>, usize)> {
        let Some(value) = value else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let found = super::type_name(value.get_ref());
            self.error(value.span().start, format!("`{what}` is {found}, write each one as `[[{what}]]`"));
            return Vec::new();
        };
        if items.len() > max {
            self.error(value.span().start, format!("more than {max} {what}s"));
            return Vec::new();
        }
        items.iter().filter_map(|item| Some((self.table(item, what)?, item.span().start))).collect()
    }

    pub(super) fn span(&mut self, value: &Value<'_>, what: &str) -> Option<Duration> {
        read_duration(value.get_ref())
            .map_err(|problem| self.error(value.span().start, format!("`{what}` {problem}")))
            .ok()
    }

    pub(super) fn flag(&mut self, value: &Value<'_>, what: &str) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(value, what, "true or false");
        }
        flag
    }

    pub(super) fn integer(
        &mut self,
        value: &Value<'_>,
        what: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            self.error(value.span().start, format!("`{what}` must be a whole number from {low} to {high}"));
        }
        number
    }

    fn exit_code(&mut self, value: &Value<'_>) -> Option<i32> {
        self.integer(value, "exit code", 0..=255).and_then(|code| i32::try_from(code).ok())
    }

    /// A command as a list: no shell reads it.
    fn command(&mut self, value: &Value<'_>, what: &str) -> Option<Vec<String>> {
        let words: Vec<String> =
            self.array(value, what)?.iter().filter_map(|word| self.string(word, what)).collect();
        if words.first().is_none_or(String::is_empty) {
            self.error(
                value.span().start,
                format!("`{what}` is empty, write [\"program\", \"argument\", ...]"),
            );
            return None;
        }
        Some(words)
    }

    fn vars(&mut self, value: &Value<'_>) -> BTreeMap<String, String> {
        let mut vars = BTreeMap::new();
        let Some(table) = self.table(value, "vars") else { return vars };
        for (key, value) in table {
            let name: &str = key.get_ref();
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                other => {
                    let found = super::type_name(other);
                    self.error(value.span().start, format!("`{name}` is {found}, not a string or a number"));
                    continue;
                }
            };
            if ["phase", "duration", "host"].contains(&name) {
                self.error(key.span().start, format!("`{name}` has a meaning of its own in load commands"));
            }
            vars.insert(name.to_owned(), text);
        }
        vars
    }
}
