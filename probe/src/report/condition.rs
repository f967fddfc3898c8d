//! From the proofs of network conditions to their lines in the report.

use super::build::Span;
use super::model::{Condition, ConditionRate};
use crate::event::{ConditionProof, Proof};

/// The conditions of one phase; one without numbers where nothing was injected.
pub(super) fn of(span: &Span<'_>) -> Vec<Condition> {
    let Some(net) = &span.phase.net else { return Vec::new() };
    let refused = Proof::refused("it was not injected".to_owned());
    let proof = span.proof.unwrap_or(&refused);
    if proof.conditions.is_empty() {
        let nothing = ConditionProof { condition: net.clone(), ..ConditionProof::default() };
        return vec![line(&span.phase.name, proof, &nothing)];
    }
    proof.conditions.iter().map(|condition| line(&span.phase.name, proof, condition)).collect()
}

fn line(phase: &str, proof: &Proof, found: &ConditionProof) -> Condition {
    let ConditionProof { rtt, loss, .. } = found;
    Condition {
        phase: phase.to_owned(),
        condition: found.condition.clone(),
        is_proved: proof.is_proved(),
        problems: proof.problems.clone(),
        notes: proof.notes.clone(),
        device: proof.device.clone(),
        scope: found.scope.clone(),
        seed: found.seed,
        rtt_asked_s: rtt.asked_s,
        rtt_before_s: rtt.before_s,
        rtt_during_s: rtt.during_s,
        rtt_after_s: rtt.after_s,
        loss_asked_ratio: loss.asked,
        loss_before_ratio: loss.before,
        loss_during_ratio: (loss.sent > 0).then(|| loss.lost as f64 / loss.sent as f64),
        loss_after_ratio: loss.after,
        echoes: loss.sent,
        rates: found
            .rates
            .iter()
            .map(|rate| ConditionRate {
                direction: rate.direction.clone(),
                asked_per_s: rate.asked,
                before_per_s: rate.before,
                during_per_s: rate.measured,
                after_per_s: rate.after,
            })
            .collect(),
        packets: found.packets,
        bytes: found.bytes,
        lost: found.lost,
        overflowed: found.overflowed,
    }
}
