//! Whether what was asked for is what packets meet: the numbers, and the judgement on them. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use super::condition::{Link, Loss};
pub use crate::event::{ConditionProof, LossProof, Proof, RateProof, RttProof};

/// A round trip may differ by this share of what was asked, or by [`RTT_FLOOR`].
const RTT_TOLERANCE: f64 = 0.05;
/// See [`RTT_TOLERANCE`].
const RTT_FLOOR: Duration = Duration::from_millis(2);
/// A rate may differ by this share.
pub const RATE_TOLERANCE: f64 = 0.05;
/// Deviations of the binomial distribution: outside of 99.9 % it is not chance.
const LOSS_DEVIATIONS: f64 = 3.29;

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

/// What speaks against traffic being clean again, where it was seen to be clean before.
#[must_use]
pub fn judge_after(proof: &Proof) -> Option<String> {
    proof.conditions.iter().flat_map(|condition| &condition.rates).find_map(|rate| {
        let (before, after) = (rate.before?, rate.after?);
        // Echoes came twice as fast as the rate.
        let is_held = before > rate.asked * 1.5 && after < rate.asked * (1.0 + 2.0 * RATE_TOLERANCE);
        is_held.then(|| {
            format!(
                "traffic is not clean afterwards: {:.0} kbit/s pass, {:.0} kbit/s before",
                after / 125.0,
                before / 125.0
            )
        })
    })
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
    let share =
        |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 1e2));
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
                "  loss        asked {:.2} % there and back, {} of {} echoes lost; before {}, after {}",
                loss.asked * 1e2,
                loss.lost,
                loss.sent,
                share(loss.before),
                share(loss.after)
            );
        }
        for rate in &condition.rates {
            let measured = rate.measured.map_or_else(
                || "not measured".to_owned(),
                |rate| format!("measured {:.0} kbit/s", rate / 125.0),
            );
            let kbit = |rate: Option<f64>| {
                rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.0}", rate / 125.0))
            };
            let _ = writeln!(
                out,
                "  rate {:<6} asked {:.0} kbit/s, {measured}; beside it before {}, after {}",
                rate.direction,
                rate.asked / 125.0,
                kbit(rate.before),
                kbit(rate.after)
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
            loss: LossProof { asked: 0.02, sent: 1000, lost, ..LossProof::default() },
            rates: vec![RateProof {
                direction: "up".to_owned(),
                asked: 1e6,
                measured: Some(measured),
                ..RateProof::default()
            }],
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
        assert!(!is_plausible(&LossProof { sent: 20, lost: 1, ..LossProof::default() }));
    }

    #[test]
    fn a_rate_that_stays_is_told() {
        let proof = |before, after| {
            let mut condition = condition(100.0, 20, 1e6);
            (condition.rates[0].before, condition.rates[0].after) = (Some(before), Some(after));
            Proof { conditions: vec![condition], ..Proof::default() }
        };
        assert_eq!(judge_after(&proof(2e6, 2e6)), None);
        assert!(
            judge_after(&proof(2e6, 1e6)).is_some_and(|problem| problem.contains("8000 kbit/s pass, 16000"))
        );
        assert_eq!(judge_after(&proof(1e6, 1e6)), None, "echoes could never fill it");
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
