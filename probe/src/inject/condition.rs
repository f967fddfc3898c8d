//! What a network condition is: two one-way links, what changes over time, and which values make sense.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest delay or jitter: netem clamps jitter to 2^31 ns, and nobody waits longer for a packet.
pub const MAX_DELAY: Duration = Duration::from_mins(1);
/// Longest jitter: `INT_MAX` nanoseconds in the kernel.
pub const MAX_JITTER: Duration = Duration::from_millis(2_147);
/// Slowest rate, bytes per second: below it a full packet takes more than a minute.
pub const MIN_RATE: u64 = 25;
/// Fastest rate, bytes per second (100 Gbit/s).
pub const MAX_RATE: u64 = 12_500_000_000;
/// Longest queue in packets.
pub const MAX_QUEUE: u32 = 1_000_000;

/// A named condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub about: Option<String>,
    /// Where its values come from, by key.
    pub sources: Vec<(String, String)>,
    /// From the client to the service.
    pub up: Link,
    /// From the service to the client.
    pub down: Link,
    /// What changes while it lasts.
    pub schedule: super::schedule::Schedule,
    /// For all that netem draws; none lets the kernel choose.
    pub seed: Option<u64>,
}

/// A one-way link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Spread of the delay.
    pub jitter: Duration,
    /// How much a packet's jitter depends on the one before it, 0 to 1.
    pub delay_correlation: f64,
    /// Form of the spread.
    pub distribution: Distribution,
    /// Packets lost.
    pub loss: Loss,
    /// Probability and correlation of a flipped bit.
    pub corrupt: Chance,
    /// Probability and correlation of a packet that comes twice.
    pub duplicate: Chance,
    /// Probability and correlation of a packet that overtakes; needs a delay.
    pub reorder: Chance,
    /// Every n-th packet overtakes (with the probability of `reorder`); 0 and 1 mean any.
    pub gap: u32,
    /// Bytes per second, link-layer header included; none for no limit.
    pub rate: Option<u64>,
    /// What may be sent at once after a pause, bytes; none for 10 ms of the rate.
    pub burst: Option<u32>,
    /// Packets that wait for the rate before more are dropped; none for a default.
    pub queue: Option<u32>,
    /// Mark packets that can be marked (ECN) instead of losing them.
    pub ecn: bool,
}

/// Something that happens at random.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chance {
    /// 0 to 1.
    pub probability: f64,
    /// Dependence on the draw before, 0 to 1.
    pub correlation: f64,
}

/// Which packets are lost; all probabilities are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Each for itself, or dependent on the one before.
    Random(Chance),
    /// Two states, good and bad (Gilbert, Elliott).
    GilbertElliott {
        /// From good to bad.
        p: f64,
        /// From bad to good.
        r: f64,
        /// Loss in the bad state.
        bad: f64,
        /// Loss in the good state.
        good: f64,
    },
    /// netem's Markov chain: received in a gap (1), received in a burst (2), lost in a burst (3), lost in a gap (4).
    FourState {
        /// From 1 to 3.
        p13: f64,
        /// From 3 to 1.
        p31: f64,
        /// From 3 to 2.
        p32: f64,
        /// From 2 to 3.
        p23: f64,
        /// From 1 to 4.
        p14: f64,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::Random(Chance::default())
    }
}

impl Loss {
    /// The share of packets lost in the long run.
    #[must_use]
    pub fn long_run(&self) -> f64 {
        match *self {
            Self::Random(chance) => chance.probability,
            Self::GilbertElliott { p, r, bad, good } => {
                if p + r <= 0.0 {
                    return good;
                }
                let in_bad = p / (p + r);
                in_bad * bad + (1.0 - in_bad) * good
            }
            // The stationary distribution of the chain 1 → 3, 4; 3 → 1, 2; 2 → 3; 4 → 1.
            Self::FourState { p13, p31, p32, p23, p14 } => {
                if p13 <= 0.0 || p31 + p32 <= 0.0 {
                    return if p13 > 0.0 { 1.0 } else { p14 / (1.0 + p14) };
                }
                let three = if p31 > 0.0 { p13 / p31 } else { return lost_forever(p32, p23) };
                let two = if p23 > 0.0 { three * p32 / p23 } else { return f64::from(u8::from(p32 <= 0.0)) };
                let all = 1.0 + two + three + p14;
                (three + p14) / all
            }
        }
    }

    /// Nothing is lost.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.long_run() <= 0.0
    }
}

/// The chain never leaves the burst.
fn lost_forever(p32: f64, p23: f64) -> f64 {
    if p32 + p23 <= 0.0 { 1.0 } else { p23 / (p23 + p32) }
}

/// Form of the jitter.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Distribution {
    /// Even between delay - jitter and delay + jitter.
    #[default]
    Uniform,
    /// Normal; jitter is its standard deviation.
    Normal,
    /// Pareto, with a long tail.
    Pareto,
    /// A quarter normal, three quarters pareto.
    ParetoNormal,
    /// From a table file as `tc` reads it.
    Table(Arc<[i16]>),
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::ParetoNormal => "paretonormal",
            Self::Table(_) => "table",
        })
    }
}

impl Link {
    /// It changes nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// What of it only netem can do, in words; empty for plain rates and plain loss.
    #[must_use]
    pub fn needs_netem(&self) -> Vec<&'static str> {
        let correlated_loss = match self.loss {
            Loss::Random(chance) => chance.correlation > 0.0,
            _ => true,
        };
        [
            (!self.delay.is_zero(), "delay"),
            (!self.jitter.is_zero(), "jitter"),
            (correlated_loss, "correlated loss"),
            (self.corrupt.probability > 0.0, "corruption"),
            (self.duplicate.probability > 0.0, "duplication"),
            (self.reorder.probability > 0.0, "reordering"),
            (self.ecn, "ECN marks"),
        ]
        .into_iter()
        .filter_map(|(is_asked, word)| is_asked.then_some(word))
        .collect()
    }

    /// Each packet has its own fate, so super-packets must be taken apart.
    #[must_use]
    pub fn is_per_packet(&self) -> bool {
        !self.loss.is_none()
            || self.corrupt.probability > 0.0
            || self.duplicate.probability > 0.0
            || self.reorder.probability > 0.0
    }

    /// What makes no sense about it, with the key it stands under.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut fault = |key, is_wrong: bool, what: &str| {
            if is_wrong {
                faults.push((key, what.to_owned()));
            }
        };
        fault("delay", self.delay > MAX_DELAY, "must be at most 60s");
        fault("jitter", self.jitter > MAX_JITTER, "must be at most 2147ms: the kernel clamps it there");
        fault(
            "jitter",
            self.jitter > self.delay,
            "must not be greater than `delay`: no packet can arrive before it was sent",
        );
        fault("delay_correlation", self.delay_correlation > 0.0 && self.jitter.is_zero(), "needs `jitter`");
        fault(
            "distribution",
            self.distribution != Distribution::Uniform && self.jitter.is_zero(),
            "needs `jitter`",
        );
        fault("reorder", self.reorder.probability > 0.0 && self.delay.is_zero(), "needs `delay`");
        fault("gap", self.gap > 1 && self.reorder.probability <= 0.0, "needs `reorder`");
        fault("ecn", self.ecn && self.loss.is_none(), "needs `loss`: marks stand in for losses");
        fault(
            "rate",
            self.rate.is_some_and(|rate| !(MIN_RATE..=MAX_RATE).contains(&rate)),
            "must be between 200bit and 100gbit",
        );
        fault("burst", self.burst.is_some() && self.rate.is_none(), "needs `rate`");
        fault(
            "burst",
            self.burst.is_some_and(|burst| burst < 1_600),
            "must be at least one packet, 1600 bytes",
        );
        fault(
            "queue",
            self.queue.is_some_and(|queue| !(1..=MAX_QUEUE).contains(&queue)),
            "must be between 1 and 1000000",
        );
        if let Loss::FourState { p13, p14, p31, p32, .. } = self.loss {
            fault("loss.state", p13 + p14 > 1.0, "p13 and p14 together are more than 1");
            fault("loss.state", p31 + p32 > 1.0, "p31 and p32 together are more than 1");
        }
        faults
    }

    /// The value between two links, `share` of the way from this one to the other; what is not a number jumps at the
    /// end.
    #[must_use]
    pub fn towards(&self, other: &Self, share: f64) -> Self {
        let share = share.clamp(0.0, 1.0);
        if share >= 1.0 {
            return other.clone();
        }
        let number = |from: f64, to: f64| from + (to - from) * share;
        let time = |from: Duration, to: Duration| {
            Duration::from_secs_f64(number(from.as_secs_f64(), to.as_secs_f64()))
        };
        let chance = |from: Chance, to: Chance| Chance {
            probability: number(from.probability, to.probability),
            correlation: number(from.correlation, to.correlation),
        };
        let loss = match (self.loss, other.loss) {
            (Loss::Random(from), Loss::Random(to)) => Loss::Random(chance(from, to)),
            (from, _) => from,
        };
        let rate = match (self.rate, other.rate) {
            (Some(from), Some(to)) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between two rates, which are positive and below 2^34"
                )]
                let between = number(from as f64, to as f64) as u64;
                Some(between)
            }
            (from, _) => from,
        };
        Self {
            delay: time(self.delay, other.delay),
            jitter: time(self.jitter, other.jitter),
            delay_correlation: number(self.delay_correlation, other.delay_correlation),
            corrupt: chance(self.corrupt, other.corrupt),
            duplicate: chance(self.duplicate, other.duplicate),
            reorder: chance(self.reorder, other.reorder),
            loss,
            rate,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_run_losses() {
        let bursts = Loss::GilbertElliott { p: 0.01, r: 0.19, bad: 1.0, good: 0.0 };
        assert!((bursts.long_run() - 0.05).abs() < 1e-12);
        // The chain without states 2 and 4 is Gilbert's.
        let chain = Loss::FourState { p13: 0.01, p31: 0.19, p32: 0.0, p23: 1.0, p14: 0.0 };
        assert!((chain.long_run() - 0.05).abs() < 1e-12);
        let random = Loss::Random(Chance { probability: 0.02, correlation: 0.5 });
        assert!((random.long_run() - 0.02).abs() < 1e-12);
        assert!(Loss::default().is_none());
    }

    /// The formula against the chain itself, walked with a simple generator.
    #[test]
    fn long_run_of_the_chain_is_what_the_chain_does() {
        let (p13, p31, p32, p23, p14) = (0.02, 0.3, 0.2, 0.4, 0.01);
        let mut seed = 7_u64;
        let mut draw = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (mut state, mut lost) = (1, 0);
        let n = 2_000_000;
        for _ in 0..n {
            let x = draw();
            state = match state {
                1 if x < p14 => 4,
                1 if x < p14 + p13 => 3,
                1 => 1,
                2 if x < p23 => 3,
                2 => 2,
                3 if x < p32 => 2,
                3 if x < p32 + p31 => 1,
                3 => 3,
                _ => 1,
            };
            lost += i32::from(state == 3 || state == 4);
        }
        let expected = Loss::FourState { p13, p31, p32, p23, p14 }.long_run();
        assert!(
            (f64::from(lost) / f64::from(n) - expected).abs() < 0.002,
            "{lost} of {n}, expected {expected}"
        );
    }

    #[test]
    fn impossible_links_are_told() {
        let link = Link {
            jitter: Duration::from_millis(10),
            reorder: Chance { probability: 0.1, correlation: 0.0 },
            burst: Some(100),
            queue: Some(0),
            ecn: true,
            ..Link::default()
        };
        let keys: Vec<_> = link.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["jitter", "reorder", "ecn", "burst", "burst", "queue"]);
        assert!(Link::default().faults().is_empty());
    }

    #[test]
    fn ramps_meet_both_ends() {
        let from = Link { delay: Duration::from_millis(10), rate: Some(1000), ..Link::default() };
        let to = Link { delay: Duration::from_millis(30), rate: Some(3000), ..Link::default() };
        assert_eq!(from.towards(&to, 0.0), from);
        assert_eq!(
            from.towards(&to, 0.5),
            Link { delay: Duration::from_millis(20), rate: Some(2000), ..Link::default() }
        );
        assert_eq!(from.towards(&to, 7.0), to);
    }
}
