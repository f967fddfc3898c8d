//! Reading the rules that end a run early: `[[abort]]`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::value::read_level;
use super::super::{AbortRule, Kind};
use super::{Reader, Value};

const MAX_RULES: usize = 20;
/// Where a rule does not say.
const WINDOW: Duration = Duration::from_secs(30);
/// A shorter window would be looked at less often than it is long.
const SHORTEST: Duration = Duration::from_secs(1);
/// A longer one is no warning of anything.
const LONGEST: Duration = Duration::from_hours(1);

impl Reader {
    pub(super) fn aborts(&mut self, value: Option<&Value<'_>>) -> Vec<AbortRule> {
        let mut ids = BTreeSet::new();
        let mut rules = Vec::new();
        for (table, at) in self.tables(value, "abort", MAX_RULES) {
            self.check_keys(table, &["id", "endpoint", "phase", "metric", "limit", "window", "min_samples"]);
            let id = self.word(table, "id", at, "the abort rule");
            if let Some(id) = &id
                && !ids.insert(id.clone())
            {
                self.error(at, format!("another abort rule has the id `{id}`"));
            }
            let whose = format!("abort rule `{}`", id.as_deref().unwrap_or_default());
            let subject = match table.get("endpoint") {
                Some(value) => self.subject(Kind::Endpoint, value, &[]).map(Some),
                None => Some(None),
            };
            let metric = self.required(table, "metric", at, &whose).and_then(|value| {
                let metric = self.metric(Kind::Endpoint, value)?;
                if AbortRule::can_watch(metric) {
                    return Some(metric);
                }
                let place = value.span().start;
                self.error(
                    place,
                    format!("{whose} cannot watch `{metric}`, only durations and shares of requests"),
                );
                None
            });
            let phase = table.get("phase").and_then(|value| self.string(value, "phase"));
            let limit = self.required(table, "limit", at, &whose);
            let limit = limit.zip(metric).and_then(|(value, metric)| {
                let wrong = |what| self.error(value.span().start, format!("`limit` of {whose} {what}"));
                read_level(metric, value.get_ref()).map_err(wrong).ok()
            });
            let window = match table.get("window") {
                None => Some(WINDOW),
                Some(value) => self.window(value),
            };
            let min_samples = match (table.get("min_samples"), metric) {
                (Some(value), _) => self
                    .integer(value, "min_samples", 1..=1_000_000)
                    .and_then(|number| u64::try_from(number).ok()),
                (None, metric) => metric.map(AbortRule::samples_needed),
            };
            if let (Some(id), Some(subject), Some(metric), Some(limit), Some(window), Some(min_samples)) =
                (id, subject, metric, limit, window, min_samples)
            {
                rules.push(AbortRule { id, subject, phase, metric, limit, window, min_samples });
            }
        }
        rules
    }

    fn window(&mut self, value: &Value<'_>) -> Option<Duration> {
        let window = self.span(value, "window")?;
        let is_fit = (SHORTEST..=LONGEST).contains(&window);
        if !is_fit {
            self.error(value.span().start, "`window` must be between 1s and 1h".to_owned());
        }
        is_fit.then_some(window)
    }
}
