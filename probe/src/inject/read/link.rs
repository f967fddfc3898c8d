//! The part of a condition that describes links: delay, loss, rate and the rest, of both directions or of one.

use std::time::Duration;

use toml::de::DeTable;

use super::super::condition::{Distribution, Link, Loss};
use super::super::distribution;
use super::{LINK_KEYS, Reader, Value, value};

impl Reader {
    /// The links that a table describes: its own keys for both, then `up` and `down` for one of them.
    pub(super) fn links(
        &mut self,
        table: &DeTable<'_>,
        up: &Link,
        down: &Link,
        is_round_trip: bool,
    ) -> (Link, Link) {
        let (mut up, mut down) = (up.clone(), down.clone());
        let n_before = self.errors.len();
        self.link(table, &mut up, is_round_trip);
        // The same keys again for the other direction: their errors have been told.
        let told = self.errors.len();
        self.link(table, &mut down, is_round_trip);
        self.errors.truncate(told);
        for (key, link) in [("up", &mut up), ("down", &mut down)] {
            let Some(value) = table.get(key) else { continue };
            let Some(inner) = self.table(value, key) else { continue };
            self.check_keys(inner, &[&LINK_KEYS[..], &["ecn"]].concat());
            if let Some(delay) = inner.get("delay").filter(|_| is_round_trip) {
                let message = format!("`{key}` states one direction: use `delay_is = \"one-way\"` with it");
                self.error(delay.span().start, message);
            }
            self.link(inner, link, false);
        }
        if self.errors.len() == n_before {
            self.check(table, "up", &up);
            if up != down {
                self.check(table, "down", &down);
            }
        }
        (up, down)
    }

    /// Says what makes no sense, at the key that says so.
    fn check(&mut self, table: &DeTable<'_>, direction: &str, link: &Link) {
        for (key, what) in link.faults() {
            let own = table.get(direction).and_then(|value| value.get_ref().as_table());
            let stands = own.and_then(|own| own.get(key)).or_else(|| table.get(key));
            let at = stands.or_else(|| table.get(direction)).map_or(0, |value| value.span().start);
            let message = format!("`{key}` {what}");
            if !self.errors.contains(&(at, message.clone())) {
                self.error(at, message);
            }
        }
    }

    fn link(&mut self, table: &DeTable<'_>, link: &mut Link, is_round_trip: bool) {
        let half = |time: Duration| if is_round_trip { time / 2 } else { time };
        if let Some(delay) = self.key(table, "delay", value::duration) {
            link.delay = half(delay);
        }
        if let Some(jitter) = self.key(table, "jitter", value::duration) {
            link.jitter = half(jitter);
        }
        if let Some(correlation) = self.key(table, "delay_correlation", value::ratio) {
            link.delay_correlation = correlation;
        }
        if let Some(value) = table.get("distribution")
            && let Some(distribution) = self.distribution(value)
        {
            link.distribution = distribution;
        }
        self.loss(table, link);
        for (key, chance) in [
            ("corrupt", &mut link.corrupt),
            ("duplicate", &mut link.duplicate),
            ("reorder", &mut link.reorder),
        ] {
            if let Some(read) = self.key(table, key, value::chance) {
                *chance = read;
            }
        }
        if let Some(gap) = self.key(table, "gap", value::whole) {
            link.gap = u32::try_from(gap).unwrap_or(u32::MAX);
        }
        if let Some(rate) = self.key(table, "rate", value::rate) {
            link.rate = rate;
        }
        if let Some(burst) = self.key(table, "burst", value::bytes) {
            link.burst = Some(burst);
        }
        if let Some(queue) = self.key(table, "queue", value::whole) {
            link.queue = Some(u32::try_from(queue).unwrap_or(u32::MAX));
        }
        if let Some(ecn) = self.key(table, "ecn", value::boolean) {
            link.ecn = ecn;
        }
    }

    /// `loss` with `loss_correlation`, or one of the models.
    fn loss(&mut self, table: &DeTable<'_>, link: &mut Link) {
        let models = ["loss", "loss_bursts", "loss_states"];
        let given: Vec<_> = models.iter().filter_map(|key| table.get(*key)).collect();
        if let [_, second, ..] = given[..] {
            self.error(second.span().start, "only one of `loss`, `loss_bursts` and `loss_states`");
            return;
        }
        if let Some(loss) = self.key(table, "loss", value::chance) {
            link.loss = Loss::Random(loss);
        }
        if let Some(correlation) = self.key(table, "loss_correlation", value::ratio) {
            match &mut link.loss {
                Loss::Random(chance) if chance.probability > 0.0 => chance.correlation = correlation,
                _ => {
                    let at = table.get("loss_correlation").map_or(0, |value| value.span().start);
                    self.error(at, "`loss_correlation` needs `loss`");
                }
            }
        }
        if let Some(value) = table.get("loss_bursts")
            && let Some([p, r, bad, good]) =
                self.ratios(value, "loss_bursts", ["p", "r", "bad", "good"], [0.0, 0.0, 1.0, 0.0])
        {
            link.loss = Loss::GilbertElliott { p, r, bad, good };
        }
        if let Some(value) = table.get("loss_states")
            && let Some([p13, p31, p32, p23, p14]) = self.ratios(
                value,
                "loss_states",
                ["p13", "p31", "p32", "p23", "p14"],
                [0.0, 1.0, 0.0, 1.0, 0.0],
            )
        {
            link.loss = Loss::FourState { p13, p31, p32, p23, p14 };
        }
    }

    fn ratios<const N: usize>(
        &mut self,
        value: &Value<'_>,
        what: &str,
        keys: [&str; N],
        defaults: [f64; N],
    ) -> Option<[f64; N]> {
        let table = self.table(value, what)?;
        self.check_keys(table, &keys);
        let mut read = defaults;
        for (key, place) in keys.iter().zip(&mut read) {
            if let Some(ratio) = self.key(table, key, value::ratio) {
                *place = ratio;
            }
        }
        Some(read)
    }

    fn distribution(&mut self, value: &Value<'_>) -> Option<Distribution> {
        let at = value.span().start;
        let Some(name) = value.get_ref().as_str() else {
            self.error(at, "`distribution` is not a string");
            return None;
        };
        match name {
            "uniform" => return Some(Distribution::Uniform),
            "normal" => return Some(Distribution::Normal),
            "pareto" => return Some(Distribution::Pareto),
            "paretonormal" => return Some(Distribution::ParetoNormal),
            _ => {}
        }
        if !name.contains(['/', '.']) {
            self.error(
                at,
                format!(
                    "unknown distribution `{name}` (uniform, normal, pareto, paretonormal, or a table file)"
                ),
            );
            return None;
        }
        let text = self.file(at, name)?;
        match distribution::parse(&text) {
            Ok(distribution) => Some(distribution),
            Err(errors) => {
                self.errors.extend(
                    errors.into_iter().map(|(line, what)| (at, format!("line {line} of `{name}`: {what}"))),
                );
                None
            }
        }
    }
}
