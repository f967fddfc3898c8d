//! The numbers of a run: of all of it, and of each of its phases where it has some.
//!
//! What happened belongs to the phase in which it ended: a request to that of its last byte sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Aggregate, Saved};
use crate::correlate::Finding;
use crate::event::{self, Proof};
use crate::profile::Profile;

/// Marks come from outside: more phases than this are counted with the last.
const MAX_PARTS: usize = 160;

/// The phase before the first, in a run that began without.
const BEFORE: &str = "run";

/// See the head of this file.
#[derive(Debug)]
pub struct Phases {
    profile: Arc<Profile>,
    whole: Aggregate,
    /// Something was counted.
    is_touched: bool,
    parts: Vec<Part>,
}

/// One phase.
#[derive(Debug)]
pub struct Part {
    /// Its name, unique in the run.
    pub name: String,
    /// Its first moment; it ends where the next begins.
    pub start_ns: u64,
    /// Objectives bind to it.
    pub judged: bool,
    /// The network condition that it asks for.
    pub condition: Option<String>,
    /// What is known of that condition; none as long as nobody tells.
    pub proof: Option<Proof>,
    /// Only a time between two phases of the plan.
    pub is_between: bool,
    /// What happened in it.
    pub numbers: Aggregate,
}

/// What [`Phases`] hold, as plain data.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedPhases {
    whole: Saved,
    #[serde(default)]
    parts: Vec<SavedPart>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedPart {
    name: String,
    start_ns: u64,
    judged: bool,
    condition: Option<String>,
    #[serde(default)]
    proof: Option<Proof>,
    #[serde(default)]
    is_between: bool,
    numbers: Saved,
}

impl Phases {
    /// A run without phases, as long as none begins.
    pub fn new(profile: Arc<Profile>) -> Self {
        Self { whole: Aggregate::new(&profile).with_series(), is_touched: false, parts: Vec::new(), profile }
    }

    /// A phase begins.
    pub fn begin(&mut self, phase: &event::Phase) {
        if self.parts.len() == MAX_PARTS {
            return;
        }
        if self.parts.is_empty() && self.is_touched {
            // What came before the first mark is a phase as well.
            self.parts.push(Part {
                name: BEFORE.to_owned(),
                start_ns: 0,
                judged: true,
                condition: None,
                proof: None,
                is_between: false,
                numbers: self.whole.clone(),
            });
        }
        if let Some(last) = self.parts.last_mut() {
            last.numbers.close(phase.ts_ns);
        }
        let same = self.parts.iter().filter(|part| part.name == phase.name).count();
        let name = if same == 0 { phase.name.clone() } else { format!("{} ({})", phase.name, same + 1) };
        self.parts.push(Part {
            name,
            start_ns: phase.ts_ns,
            judged: phase.judged,
            condition: phase.condition.clone(),
            proof: None,
            is_between: phase.is_between,
            numbers: Aggregate::after(&self.profile, &self.whole, phase.ts_ns),
        });
    }

    /// The conditions of a phase are gone: what is known of them.
    pub fn prove(&mut self, condition: &event::Condition) {
        let part = self.parts.iter_mut().rev().find(|part| part.name == condition.phase);
        if let Some(part) = part {
            part.proof = Some(condition.proof.clone());
        }
    }

    /// The load command of a phase ended.
    pub fn load(&mut self, load: &event::Load) {
        self.whole.add_load(load);
        if let Some(part) = self.parts.iter_mut().rev().find(|part| part.name == load.phase) {
            part.numbers.add_load(load);
        }
    }

    /// Counts what became known by an event of this moment.
    pub fn add(&mut self, finding: &Finding, ts_ns: u64) {
        // GPUs and processes are looked at all the time: that alone makes no phase.
        self.is_touched |= !matches!(finding, Finding::Gpu(_) | Finding::Resources(_));
        self.whole.add(finding);
        let is_identity = matches!(finding, Finding::Lock(lock) if lock.is_identity());
        if is_identity || matches!(finding, Finding::Stages { .. } | Finding::Gpu(_)) {
            // About all of them, or about a time of which each takes its own part.
            self.parts.iter_mut().for_each(|part| part.numbers.add(finding));
            return;
        }
        // Events come nearly in order: mostly it is the last.
        let part = self.parts.iter_mut().rev().find(|part| part.start_ns <= ts_ns);
        if let Some(part) = part {
            part.numbers.add(finding);
        }
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        self.whole.finish();
        self.parts.iter_mut().for_each(|part| part.numbers.finish());
    }

    /// All its numbers.
    pub fn save(&self) -> SavedPhases {
        let save = |part: &Part| SavedPart {
            name: part.name.clone(),
            start_ns: part.start_ns,
            judged: part.judged,
            condition: part.condition.clone(),
            proof: part.proof.clone(),
            is_between: part.is_between,
            numbers: part.numbers.save(),
        };
        SavedPhases { whole: self.whole.save(), parts: self.parts.iter().map(save).collect() }
    }

    /// Adds the numbers of another run, whose clock is so far behind ours. Phases of one name become one.
    pub fn add_saved(&mut self, saved: &SavedPhases, shift_ns: i64) {
        self.whole.add_saved(&saved.whole, shift_ns);
        for part in &saved.parts {
            let start_ns = part.start_ns.saturating_add_signed(shift_ns);
            let own = match self.parts.iter().position(|own| own.name == part.name) {
                Some(at) => at,
                None if self.parts.len() == MAX_PARTS => continue,
                None => {
                    let at = self.parts.partition_point(|own| own.start_ns <= start_ns);
                    self.parts.insert(
                        at,
                        Part {
                            name: part.name.clone(),
                            start_ns,
                            judged: part.judged,
                            condition: part.condition.clone(),
                            proof: part.proof.clone(),
                            is_between: part.is_between,
                            numbers: Aggregate::new(&self.profile),
                        },
                    );
                    at
                }
            };
            let own = &mut self.parts[own];
            own.start_ns = own.start_ns.min(start_ns);
            own.judged &= part.judged;
            // What is not proved of one of them is not proved of both.
            if own.proof.as_ref().is_some_and(Proof::is_proved) {
                own.proof.clone_from(&part.proof);
            }
            own.numbers.add_saved(&part.numbers, shift_ns);
        }
    }

    /// All phases together.
    pub const fn whole(&self) -> &Aggregate {
        &self.whole
    }

    /// The phase at hand; all of a run without phases.
    pub fn now(&self) -> &Aggregate {
        self.parts.last().map_or(&self.whole, |part| &part.numbers)
    }

    /// The phases in their order; none in a run without.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(ts_ns: u64, name: &str) -> event::Phase {
        event::Phase { ts_ns, name: name.to_owned(), judged: true, condition: None, is_between: false }
    }

    /// Also what comes late is counted where it belongs, and the whole has everything.
    #[test]
    fn findings_belong_to_the_phase_of_their_moment() {
        let mut phases = Phases::new(Arc::new(Profile::builtin().unwrap()));
        let abandoned = Finding::Abandoned { port: 1 };
        phases.add(&abandoned, 5);
        phases.begin(&phase(10, "a"));
        phases.begin(&phase(20, "b"));
        phases.begin(&phase(30, "a"));
        for ts_ns in [9, 10, 19, 20, 35] {
            phases.add(&abandoned, ts_ns);
        }
        let count = |numbers: &Aggregate| numbers.listeners().get(&1).map_or(0, |port| port.abandoned);
        assert_eq!(count(phases.whole()), 6);
        let parts: Vec<_> =
            phases.parts().iter().map(|part| (part.name.as_str(), count(&part.numbers))).collect();
        assert_eq!(parts, [("run", 2), ("a", 2), ("b", 1), ("a (2)", 1)]);
    }

    #[test]
    fn marks_without_end_take_no_memory() {
        let mut phases = Phases::new(Arc::new(Profile::builtin().unwrap()));
        for ts_ns in 0..1000 {
            phases.begin(&phase(ts_ns, "x"));
        }
        assert_eq!(phases.parts().len(), MAX_PARTS);
    }
}
