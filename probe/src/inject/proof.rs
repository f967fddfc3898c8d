//! Whether what was asked for is what packets meet: the numbers, and the judgement on them. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::{Link, Loss};

/// A round trip may differ by this share of what was asked, or by [`RTT_FLOOR`].
const RTT_TOLERANCE: f64 = 0.05;
/// See [`RTT_TOLERANCE`].
const RTT_FLOOR: Duration = Duration::from_millis(2);
/// A rate may differ by this share.
const RATE_TOLERANCE: f64 = 0.05;
/// Deviations of the binomial distribution: outside of 99.9 % it is not chance.
const LOSS_DEVIATIONS: f64 = 3.29;

/// All that is known about what is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The device.
    pub device: String,
    /// What ends it when the injector dies: `link` or `deadline`.
    pub dead_man: String,
    /// One per condition.
    pub conditions: Vec<ConditionProof>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Why it is not proved; empty when it is.
    pub problems: Vec<String>,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConditionProof {
    /// Its name.
    pub condition: String,
    /// Which packets.
    pub scope: String,
    /// Of netem's draws.
    pub seed: Option<u64>,
    /// There and back.
    pub rtt: RttProof,
    /// Share of echoes lost there and back.
    pub loss: LossProof,
    /// One per direction with a rate.
    pub rates: Vec<RateProof>,
    /// Packets of the traffic that it was applied to.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets lost by intent, ours included.
    pub lost: u64,
    /// Packets lost because a queue was full, ours included.
    pub overflowed: u64,
}

/// See [`ConditionProof::rtt`]; seconds, medians.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RttProof {
    /// On top of what it is without.
    pub asked_s: f64,
    /// May be spread by this much.
    pub jitter_s: f64,
    /// Without the condition.
    pub before_s: Option<f64>,
    /// Under it.
    pub during_s: Option<f64>,
    /// When it was gone.
    pub after_s: Option<f64>,
}

/// See [`ConditionProof::loss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossProof {
    /// Share.
    pub asked: f64,
    /// Echo requests.
    pub sent: u64,
    /// Of these, without an answer.
    pub lost: u64,
    /// Losses depend on each other: fewer independent draws than packets.
    pub is_bursty: bool,
}

/// See [`ConditionProof::rates`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateProof {
    /// `up`, `down` or `each way`.
    pub direction: String,
    /// Bytes per second.
    pub asked: f64,
    /// Bytes per second; none where our own packets cannot fill it.
    pub measured: Option<f64>,
}

impl Proof {
    /// Nothing speaks against it.
    pub fn is_proved(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What one condition should do to an echo that passes these links.
#[must_use]
pub fn asked(links: &[&Link]) -> (RttProof, LossProof) {
    let sum = |pick: fn(&Link) -> Duration| links.iter().map(|link| pick(link).as_secs_f64()).sum();
    let rtt = RttProof {
        asked_s: sum(|link| link.delay),
        jitter_s: sum(|link| link.jitter),
        ..RttProof::default()
    };
    let passes: f64 =
        links.iter().map(|link| if link.ecn { 1.0 } else { 1.0 - link.loss.long_run() }).product();
    let is_bursty = links.iter().any(|link| match link.loss {
        Loss::Random(chance) => chance.correlation > 0.0,
        _ => true,
    });
    (rtt, LossProof { asked: 1.0 - passes, is_bursty, ..LossProof::default() })
}

/// What is wrong with the numbers of a condition.
#[must_use]
pub fn judge(proof: &ConditionProof) -> Vec<String> {
    let mut problems = Vec::new();
    let name = &proof.condition;
    if let (Some(before), Some(during)) = (proof.rtt.before_s, proof.rtt.during_s) {
        let added = during - before;
        let allowed = (proof.rtt.asked_s * RTT_TOLERANCE).max(RTT_FLOOR.as_secs_f64()) + proof.rtt.jitter_s;
        if (added - proof.rtt.asked_s).abs() > allowed {
            problems.push(format!(
                "`{name}` asks for a round trip of {:.1} ms, {:.1} ms were measured",
                proof.rtt.asked_s * 1e3,
                added * 1e3
            ));
        }
    }
    if proof.loss.sent > 0 && !is_plausible(&proof.loss) {
        problems.push(format!(
            "`{name}` asks for a loss of {:.2} %, {} of {} packets were lost",
            proof.loss.asked * 1e2,
            proof.loss.lost,
            proof.loss.sent
        ));
    }
    for rate in &proof.rates {
        let Some(measured) = rate.measured else { continue };
        if (measured - rate.asked).abs() > rate.asked * RATE_TOLERANCE {
            problems.push(format!(
                "`{name}` asks for {:.0} kbit/s {}, {:.0} kbit/s were measured",
                rate.asked / 125.0,
                rate.direction,
                measured / 125.0
            ));
        }
    }
    problems
}

/// The count lies within what chance allows. Where losses come in bursts, a tenth of the packets counts as draws.
fn is_plausible(loss: &LossProof) -> bool {
    let sent = loss.sent as f64;
    let draws = if loss.is_bursty { sent / 10.0 } else { sent };
    let deviation = (loss.asked * (1.0 - loss.asked) / draws).sqrt();
    // Half a packet for the step from a count to a share, and where losses are rare: three more.
    let allowed = LOSS_DEVIATIONS * deviation + 0.5 / sent + if loss.asked > 0.0 { 3.0 / sent } else { 0.0 };
    (loss.lost as f64 / sent - loss.asked).abs() <= allowed
}

/// The proof for people.
#[must_use]
pub fn text(proof: &Proof) -> String {
    let mut out = String::new();
    let ms = |seconds: Option<f64>| {
        seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1} ms", seconds * 1e3))
    };
    let _ =
        writeln!(out, "device {}: {}", proof.device, if proof.is_proved() { "proved" } else { "NOT PROVED" });
    for condition in &proof.conditions {
        let ConditionProof { rtt, loss, .. } = condition;
        let _ = writeln!(out, "\n{} on {}", condition.condition, condition.scope);
        let _ = writeln!(
            out,
            "  round trip  asked +{:.1} ms, before {}, during {}, after {}",
            rtt.asked_s * 1e3,
            ms(rtt.before_s),
            ms(rtt.during_s),
            ms(rtt.after_s)
        );
        if loss.sent > 0 {
            let _ = writeln!(
                out,
                "  loss        asked {:.2} % there and back, {} of {} echoes lost",
                loss.asked * 1e2,
                loss.lost,
                loss.sent
            );
        }
        for rate in &condition.rates {
            let measured = rate.measured.map_or_else(
                || "not measured".to_owned(),
                |rate| format!("measured {:.0} kbit/s", rate / 125.0),
            );
            let _ = writeln!(
                out,
                "  rate {:<6} asked {:.0} kbit/s, {measured}",
                rate.direction,
                rate.asked / 125.0
            );
        }
        let _ = writeln!(
            out,
            "  traffic     {} packets, {} bytes; lost {}, overflowed {} (echoes included)",
            condition.packets, condition.bytes, condition.lost, condition.overflowed
        );
    }
    for (word, lines) in [("note", &proof.notes), ("problem", &proof.problems)] {
        for line in lines {
            let _ = writeln!(out, "\n{word}: {line}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::condition::Chance;
    use super::*;

    fn condition(added_ms: f64, lost: u64, measured: f64) -> ConditionProof {
        ConditionProof {
            condition: "c".to_owned(),
            rtt: RttProof {
                asked_s: 0.1,
                before_s: Some(0.001),
                during_s: Some(0.001 + added_ms / 1e3),
                ..RttProof::default()
            },
            loss: LossProof { asked: 0.02, sent: 1000, lost, is_bursty: false },
            rates: vec![RateProof { direction: "up".to_owned(), asked: 1e6, measured: Some(measured) }],
            ..ConditionProof::default()
        }
    }

    #[test]
    fn numbers_that_fit_and_numbers_that_do_not() {
        assert_eq!(judge(&condition(103.0, 20, 0.97e6)), Vec::<String>::new());
        for (added, lost, measured, part) in [
            (94.0, 20, 1e6, "round trip of 100.0 ms, 94.0 ms"),
            (0.0, 20, 1e6, "round trip"),
            (100.0, 0, 1e6, "0 of 1000 packets"),
            (100.0, 60, 1e6, "60 of 1000"),
            (100.0, 20, 0.9e6, "7200 kbit/s"),
        ] {
            let problems = judge(&condition(added, lost, measured));
            assert!(problems.len() == 1 && problems[0].contains(part), "{problems:?}");
        }
        // Not a single echo may be lost where none should be.
        assert!(!is_plausible(&LossProof { asked: 0.0, sent: 20, lost: 1, is_bursty: false }));
    }

    #[test]
    fn two_ways_add_up() {
        let link = Link {
            delay: Duration::from_millis(50),
            loss: Loss::Random(Chance { probability: 0.01, correlation: 0.0 }),
            ..Link::default()
        };
        let (rtt, loss) = asked(&[&link, &link]);
        assert!((rtt.asked_s - 0.1).abs() < 1e-12 && (loss.asked - 0.0199).abs() < 1e-9 && !loss.is_bursty);
    }
}
