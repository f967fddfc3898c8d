//! Rules that end a run early: their values over a sliding window.
//!
//! A window is made of tenths, the last of which is still running: it covers nine tenths to the whole of its length.
//! A phase begins with empty windows. What hangs is not seen here before it has ended.

use std::collections::BTreeMap;

use super::Durations;
use super::durations::Resolution;
use super::endpoint::EndpointTable;
use crate::correlate::Exchange;
use crate::event::{Abort, Ending};
use crate::profile::{AbortRule, Profile, Shape, Stat};

/// Parts of a window.
const TENTHS: u64 = 10;
/// Endpoints that one rule watches, each on its own; further ones are watched by rules that name them.
const MAX_WATCHED: usize = 50;

/// What all rules have seen of late.
#[derive(Debug)]
pub struct AbortWatch {
    table: EndpointTable,
    rules: Vec<Watched>,
    phase: Option<String>,
}

#[derive(Debug)]
struct Watched {
    rule: AbortRule,
    tenth_ns: u64,
    /// By endpoint; all together under none.
    windows: BTreeMap<Option<usize>, BTreeMap<u64, Tenth>>,
}

/// A tenth of a window.
#[derive(Debug)]
struct Tenth {
    durations: Durations,
    part: u64,
    whole: u64,
}

/// What a request adds to the value of a rule.
enum Sample {
    Duration(u64),
    Share(bool),
}

impl AbortWatch {
    /// Nothing seen yet.
    pub fn new(profile: &Profile) -> Self {
        let watched = |rule: &AbortRule| Watched {
            rule: rule.clone(),
            tenth_ns: u64::try_from(rule.window.as_nanos()).unwrap_or(u64::MAX).div_ceil(TENTHS).max(1),
            windows: BTreeMap::new(),
        };
        Self {
            table: EndpointTable::new(profile),
            rules: profile.aborts.iter().map(watched).collect(),
            phase: None,
        }
    }

    /// A phase begins, and with it every window.
    pub fn begin(&mut self, phase: &str) {
        self.phase = Some(phase.to_owned());
        self.rules.iter_mut().for_each(|watched| watched.windows.clear());
    }

    /// Takes a request that has ended.
    pub fn add(&mut self, exchange: &Exchange) {
        if self.rules.is_empty() || exchange.outgoing.is_some() || exchange.ending == Ending::InFlight {
            return;
        }
        let index = self.table.index_of(&exchange.method, &exchange.path);
        let name = self.table.name(index);
        for watched in &mut self.rules {
            let rule = &watched.rule;
            if !rule.binds_to(self.phase.as_deref()) {
                continue;
            }
            let Some(sample) = sample(exchange, rule.metric.quantity.name) else { continue };
            let key = match &rule.subject {
                None => None,
                Some(pattern) if pattern.matches(name) => Some(index),
                Some(_) => continue,
            };
            watched.add(key, exchange.end_ns, &sample);
        }
    }

    /// The first rule whose value is past its limit at this moment of `CLOCK_MONOTONIC`.
    pub fn due(&mut self, now_ns: u64) -> Option<Abort> {
        let (table, phase) = (&self.table, &self.phase);
        self.rules.iter_mut().find_map(|watched| {
            let tenth = now_ns / watched.tenth_ns;
            let rule = &watched.rule;
            watched.windows.iter_mut().find_map(|(key, window)| {
                window.retain(|number, _| number + TENTHS > tenth);
                let (value, samples) = value(rule, window)?;
                (samples >= rule.min_samples && rule.is_past(value)).then(|| Abort {
                    ts_ns: now_ns,
                    rule: rule.id.clone(),
                    subject: key.map(|index| table.name(index).to_owned()),
                    metric: rule.metric.to_string(),
                    phase: phase.clone(),
                    value,
                    limit: rule.limit,
                    unit: rule.metric.unit(),
                    samples,
                    window_s: rule.window.as_secs_f64(),
                })
            })
        })
    }
}

impl Watched {
    fn add(&mut self, key: Option<usize>, ts_ns: u64, sample: &Sample) {
        if self.windows.len() >= MAX_WATCHED && !self.windows.contains_key(&key) {
            return;
        }
        let window = self.windows.entry(key).or_default();
        let number = ts_ns / self.tenth_ns;
        if let Some((last, _)) = window.last_key_value()
            && number + TENTHS <= *last
        {
            return;
        }
        let tenth = window.entry(number).or_insert_with(|| Tenth {
            durations: Durations::new(Resolution::Coarse),
            part: 0,
            whole: 0,
        });
        match sample {
            Sample::Duration(ns) => tenth.durations.record(*ns),
            Sample::Share(is_part) => {
                tenth.part += u64::from(*is_part);
                tenth.whole += 1;
            }
        }
        // Nobody may ask for a while: no more is kept than a window.
        while window.len() as u64 > TENTHS {
            window.pop_first();
        }
    }
}

/// The value over a window and what it is made of; none without samples.
fn value(rule: &AbortRule, window: &BTreeMap<u64, Tenth>) -> Option<(f64, u64)> {
    if rule.metric.quantity.shape == Shape::Share {
        let (part, whole) =
            window.values().fold((0u64, 0u64), |(part, whole), at| (part + at.part, whole + at.whole));
        return (whole > 0).then(|| (part as f64 / whole as f64, whole));
    }
    let mut durations = Durations::new(Resolution::Coarse);
    for tenth in window.values() {
        durations.merge(&tenth.durations);
    }
    let ns = match rule.metric.stat? {
        Stat::Percentile(percentile) => durations.percentile_ns(percentile)? as f64,
        Stat::Mean => durations.mean_ns()?,
        Stat::Max => durations.max_ns()? as f64,
        Stat::Min => durations.min_ns()? as f64,
    };
    Some((ns / 1e9, durations.count()))
}

/// What a request says about a quantity, as [`super::EndpointStats`] counts it; none when it says nothing.
fn sample(exchange: &Exchange, quantity: &str) -> Option<Sample> {
    let is_answer = exchange.ending == Ending::Complete;
    let class = exchange.status / 100;
    let is_error = is_answer && class == 5;
    let share = match quantity {
        "aborted_rate" => Some(!is_answer),
        "success_rate" => Some(is_answer && !is_error),
        "error_rate" if is_answer => Some(is_error),
        "status_4xx_rate" if is_answer => Some(class == 4),
        _ => None,
    };
    if let Some(is_part) = share {
        return Some(Sample::Share(is_part));
    }
    let timing = exchange.timing.filter(|_| is_answer)?;
    let ns = match quantity {
        "failed_latency" if is_error => timing.latency_ns(),
        "latency" if !is_error => timing.latency_ns(),
        "accept_queue" if !is_error => timing.accept_queue_ns,
        "receive_queue" if !is_error => timing.receive_queue_ns,
        "read" if !is_error => timing.read_ns,
        "app" if !is_error => timing.app_ns,
        "write" if !is_error => timing.write_ns,
        _ => return None,
    };
    Some(Sample::Duration(ns))
}

#[cfg(test)]
mod tests;
