//! What changes while a condition lasts: steps, ramps, flapping links, and recorded packet-delivery traces. Pure: time is
//! the offset since the condition began.

use std::sync::Arc;
use std::time::Duration;

use super::condition::{Chance, Link, Loss};

/// How finely ramps and traces are followed.
pub const TICK: Duration = Duration::from_millis(100);
/// Bytes of one delivery opportunity in a Mahimahi trace (its man page, mm-link(1): MTU-sized packets of 1504 bytes).
const OPPORTUNITY_BYTES: u64 = 1504;
/// A trace's longest period and most lines.
const MAX_TRACE_MS: u64 = 24 * 3600 * 1000;
/// More than 10 Gbit/s of opportunities for a minute.
const MAX_TRACE_LINES: usize = 50_000_000;
/// What stands for "nothing gets through" in a rate: a packet a minute.
const STALLED_RATE: u64 = super::condition::MIN_RATE;

/// Everything that changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// In the order of their times.
    pub steps: Vec<Step>,
    /// The link goes away now and then.
    pub flap: Option<Flap>,
    /// Rate over time, from the client to the service.
    pub trace_up: Option<Trace>,
    /// Rate over time, from the service to the client.
    pub trace_down: Option<Trace>,
}

/// From a time on the links are others.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When the change begins.
    pub at: Duration,
    /// How long it takes to get there, linearly; zero for at once.
    pub over: Duration,
    /// The links at its end.
    pub up: Link,
    /// See `up`.
    pub down: Link,
}

/// A link that loses everything at the end of each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flap {
    /// From one loss of the link to the next.
    pub every: Duration,
    /// How long it is away.
    pub away: Duration,
}

/// A packet-delivery trace: the rate in each tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Bytes per second, one per [`TICK`].
    rates: Arc<[u64]>,
}

impl Trace {
    /// Reads Mahimahi's format: each line is a time in milliseconds at which one packet of 1504 bytes may be delivered;
    /// after the last one the trace begins again. Every mistake is told, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<(usize, String)>> {
        let mut errors = Vec::new();
        let mut times = Vec::new();
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.parse::<u64>() {
                Err(_) => errors.push((number, format!("`{}` is not a time in milliseconds", shown(line)))),
                Ok(time) if time < last => {
                    errors.push((number, format!("{time} comes after {last}: times must not go back")));
                }
                Ok(time) if time > MAX_TRACE_MS => {
                    errors.push((number, "a trace is at most a day long".to_owned()));
                }
                Ok(time) => {
                    last = time;
                    times.push(time);
                }
            }
            if errors.len() > 20 || times.len() > MAX_TRACE_LINES {
                errors.push((number, "too many lines or mistakes, reading ends here".to_owned()));
                break;
            }
        }
        if errors.is_empty() && last == 0 {
            errors.push((0, "holds no time after 0".to_owned()));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let tick_ms = 100;
        let n_ticks = usize::try_from(last.div_ceil(tick_ms)).unwrap_or(1).max(1);
        let mut packets = vec![0_u64; n_ticks];
        for time in times {
            // A packet at the very end belongs to the last tick.
            let tick = usize::try_from(time / tick_ms).unwrap_or(0).min(n_ticks - 1);
            packets[tick] += 1;
        }
        let rate = |n: u64| (n * OPPORTUNITY_BYTES * 1000 / tick_ms).max(STALLED_RATE);
        Ok(Self { rates: packets.into_iter().map(rate).collect() })
    }

    /// Bytes per second at a time.
    fn rate_at(&self, time: Duration) -> u64 {
        let tick = time.as_millis() / TICK.as_millis();
        let index = usize::try_from(tick % self.rates.len().max(1) as u128).unwrap_or(0);
        self.rates.get(index).copied().unwrap_or(STALLED_RATE)
    }

    /// Bytes per second over the whole trace.
    pub fn mean_rate(&self) -> u64 {
        self.rates.iter().sum::<u64>() / self.rates.len().max(1) as u64
    }

    /// The fastest tick.
    fn max_rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(STALLED_RATE)
    }
}

fn shown(line: &str) -> String {
    line.chars().take(20).flat_map(char::escape_default).collect()
}

impl Schedule {
    /// Nothing ever changes.
    pub fn is_constant(&self) -> bool {
        *self == Self::default()
    }

    /// The links at a time, from the client to the service and back.
    pub fn at(&self, time: Duration, up: &Link, down: &Link) -> (Link, Link) {
        let mut now = (up.clone(), down.clone());
        for step in self.steps.iter().take_while(|step| step.at <= time) {
            let share = if step.over.is_zero() {
                1.0
            } else {
                time.saturating_sub(step.at).as_secs_f64() / step.over.as_secs_f64()
            };
            now = (now.0.towards(&step.up, share), now.1.towards(&step.down, share));
        }
        if let Some(trace) = &self.trace_up {
            now.0.rate = Some(trace.rate_at(time));
        }
        if let Some(trace) = &self.trace_down {
            now.1.rate = Some(trace.rate_at(time));
        }
        if self.flap.is_some_and(|flap| flap.is_away(time)) {
            let all = Loss::Random(Chance { probability: 1.0, correlation: 0.0 });
            for link in [&mut now.0, &mut now.1] {
                link.loss = all;
                link.ecn = false;
            }
        }
        now
    }

    /// The first time after `time` at which something may be different; none when all stays as it is.
    pub fn next_change(&self, time: Duration) -> Option<Duration> {
        let tick = || {
            let next = time.as_millis() / TICK.as_millis() + 1;
            TICK * u32::try_from(next).unwrap_or(u32::MAX)
        };
        let steps = self.steps.iter().filter_map(|step| {
            if step.at > time {
                Some(step.at)
            } else if step.at + step.over > time {
                Some(tick().min(step.at + step.over))
            } else {
                None
            }
        });
        let traces = (self.trace_up.is_some() || self.trace_down.is_some()).then(tick);
        let flap = self.flap.map(|flap| flap.next_change(time));
        steps.chain(traces).chain(flap).min()
    }

    /// Every link that the schedule ever leads to, for the plan: what must be possible, and the largest queue.
    pub fn extremes(&self, up: &Link, down: &Link) -> (Vec<Link>, Vec<Link>) {
        let mut ups = vec![up.clone()];
        let mut downs = vec![down.clone()];
        for step in &self.steps {
            ups.push(step.up.clone());
            downs.push(step.down.clone());
        }
        for (links, trace) in [(&mut ups, &self.trace_up), (&mut downs, &self.trace_down)] {
            if let Some(trace) = trace {
                for link in links.iter_mut() {
                    link.rate = Some(trace.max_rate());
                }
            }
            if self.flap.is_some() {
                let mut away = links[0].clone();
                away.loss = Loss::Random(Chance { probability: 1.0, correlation: 0.0 });
                links.push(away);
            }
        }
        (ups, downs)
    }
}

impl Flap {
    fn is_away(self, time: Duration) -> bool {
        self.in_period(time) >= self.every.saturating_sub(self.away)
    }

    fn in_period(self, time: Duration) -> Duration {
        let every = self.every.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(time.as_nanos() % every).unwrap_or(0))
    }

    fn next_change(self, time: Duration) -> Duration {
        let into = self.in_period(time);
        let there = self.every.saturating_sub(self.away);
        let end = if into < there { there } else { self.every };
        let left = end.saturating_sub(into);
        time + left.max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn delayed(n: u64) -> Link {
        Link { delay: ms(n), ..Link::default() }
    }

    fn step(at: u64, over: u64, delay: u64) -> Step {
        Step { at: ms(at), over: ms(over), up: delayed(delay), down: Link::default() }
    }

    #[test]
    fn steps_and_ramps() {
        let schedule =
            Schedule { steps: vec![step(1000, 0, 50), step(2000, 1000, 150)], ..Schedule::default() };
        let delay = |at| schedule.at(ms(at), &delayed(10), &Link::default()).0.delay;
        for (at, expected) in
            [(0, 10), (999, 10), (1000, 50), (1999, 50), (2500, 100), (3000, 150), (9000, 150)]
        {
            assert_eq!(delay(at), ms(expected), "{at}");
        }
        let next = |at| schedule.next_change(ms(at));
        assert_eq!(next(0), Some(ms(1000)));
        assert_eq!(next(1000), Some(ms(2000)));
        assert_eq!(next(2000), Some(ms(2100)));
        assert_eq!(next(2950), Some(ms(3000)));
        assert_eq!(next(3000), None);
    }

    #[test]
    fn a_link_that_flaps() {
        let flap = Flap { every: ms(1000), away: ms(200) };
        let schedule = Schedule { flap: Some(flap), ..Schedule::default() };
        let is_away = |at| schedule.at(ms(at), &Link::default(), &Link::default()).1.loss.long_run() > 0.5;
        for (at, expected) in
            [(0, false), (799, false), (800, true), (999, true), (1000, false), (1850, true)]
        {
            assert_eq!(is_away(at), expected, "{at}");
        }
        assert_eq!(schedule.next_change(ms(0)), Some(ms(800)));
        assert_eq!(schedule.next_change(ms(800)), Some(ms(1000)));
    }

    /// Ten packets of 1504 bytes in the first tenth of a second, none in the second, one in the third.
    #[test]
    fn traces() {
        let text: String = (0..10)
            .map(|n| format!("{}\n", n * 10))
            .chain(["# pause\n", "299\n"].map(str::to_owned))
            .collect();
        let trace = Trace::parse(&text).unwrap();
        assert_eq!(trace.rate_at(ms(0)), 150_400);
        assert_eq!(trace.rate_at(ms(150)), STALLED_RATE);
        assert_eq!(trace.rate_at(ms(299)), 15_040);
        assert_eq!(trace.rate_at(ms(300)), 150_400, "it begins again");
        let errors = Trace::parse("5\nfive\n3\n").unwrap_err();
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
        assert!(Trace::parse("").is_err() && Trace::parse("0\n0\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_trace_or_has_errors(text in "[0-9 #x\n-]{0,200}") {
            if let Ok(trace) = Trace::parse(&text) {
                prop_assert!(trace.mean_rate() >= STALLED_RATE && trace.max_rate() >= trace.mean_rate());
            }
        }

        /// Nothing changes between a time and its next change, but for ramps, which move in ticks.
        #[test]
        fn nothing_changes_before_the_next_change(at in 0u64..5000, a in 1u64..3000, away in 1u64..400) {
            let flap = Some(Flap { every: ms(500), away: ms(away) });
            let schedule = Schedule { steps: vec![step(a, 0, 70)], flap, ..Schedule::default() };
            let next = schedule.next_change(ms(at)).unwrap();
            prop_assert!(next > ms(at));
            let links = |time| schedule.at(time, &delayed(5), &Link::default());
            prop_assert_eq!(links(ms(at)), links(next.saturating_sub(Duration::from_nanos(1))));
        }
    }
}
