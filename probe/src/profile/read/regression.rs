//! Reading the rules of a comparison: `[[regression]]`.

use std::collections::BTreeSet;

use super::super::value::{read_level, read_ratio};
use super::super::{Kind, Regression};
use super::{Reader, Value};

const MAX_RULES: usize = 100;

impl Reader {
    pub(super) fn regressions(&mut self, value: Option<&Value<'_>>) -> Vec<Regression> {
        if value.is_none() {
            return Regression::defaults();
        }
        let mut ids = BTreeSet::new();
        let mut rules = Vec::new();
        for (table, at) in self.tables(value, "regression", MAX_RULES) {
            let subjects = Kind::ALL.map(Kind::key);
            self.check_keys(
                table,
                &[&["id"], subjects.as_slice(), &["metric", "worse_by", "floor"]].concat(),
            );
            let id = self.word(table, "id", at, "the regression rule");
            if let Some(id) = &id
                && !ids.insert(id.clone())
            {
                self.error(at, format!("another regression rule has the id `{id}`"));
            }
            let whose = format!("regression rule `{}`", id.as_deref().unwrap_or_default());
            let named = Kind::ALL.into_iter().find_map(|kind| Some((kind, table.get(kind.key())?)));
            let kind = named.map_or(Kind::Endpoint, |(kind, _)| kind);
            let subject = named.and_then(|(kind, value)| self.subject(kind, value, &[]));
            let metric =
                self.required(table, "metric", at, &whose).and_then(|value| self.metric(kind, value));
            let worse_by = self.required(table, "worse_by", at, &whose);
            let worse_by = worse_by.and_then(|value| {
                let wrong = |what| self.error(value.span().start, format!("`worse_by` of {whose} {what}"));
                read_ratio(value.get_ref()).map_err(wrong).ok()
            });
            let floor = match (table.get("floor"), metric) {
                (Some(value), Some(metric)) => {
                    let wrong = |what| self.error(value.span().start, format!("`floor` of {whose} {what}"));
                    read_level(metric, value.get_ref()).map_err(wrong).ok()
                }
                _ => Some(0.0),
            };
            if let (Some(id), Some(metric), Some(worse_by), Some(floor)) = (id, metric, worse_by, floor) {
                rules.push(Regression { id, subject, metric, worse_by, floor });
            }
        }
        rules
    }
}
