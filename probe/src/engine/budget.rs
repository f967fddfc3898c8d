//! Decides what a run gives up of its view when it costs more than it may. Pure: fed with what the run cost of late, it
//! says what is to go.
//!
//! Two looks in succession must be over the budget: one alone may be a burst. What is given up stays so for the rest of
//! the run, since a report whose numbers mean something else from moment to moment says nothing.

use crate::event::{Budget, GivenUp, Sample};

/// Looks over the budget, in succession, that make a step.
const N_OVER: u32 = 2;
/// The smallest sample of the connections is one in so many: beyond it too little would be seen to be worth a run.
const SMALLEST_SAMPLE: u32 = 16;

/// What a run cost since the look before, as shares of one core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    /// Kernel programs; none where the kernel does not tell.
    pub(super) bpf: Option<f64>,
    /// The agent itself.
    pub(super) agent: f64,
}

impl Look {
    /// Both together.
    pub(super) fn cost(self) -> f64 {
        self.bpf.unwrap_or(0.0) + self.agent
    }
}

/// What there is to give up now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spare {
    /// Probes on SQLite's functions are in place.
    pub(super) statements: bool,
    /// Connections are followed.
    pub(super) connections: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This is to go.
    GiveUp(GivenUp),
    /// There is nothing that could go: the budget cannot be kept. Said once.
    NothingLeft,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Controller {
    limit: f64,
    sample: Sample,
    n_over: u32,
    is_exhausted: bool,
    /// Since the last step: how many looks, what they cost in all, and whether each knew the kernel's part.
    n_looks: u32,
    sum: f64,
    is_whole: bool,
}

impl Controller {
    /// For a budget, a share of one core.
    pub(super) const fn new(limit: f64) -> Self {
        Self {
            limit,
            sample: Sample::ALL,
            n_over: 0,
            is_exhausted: false,
            n_looks: 0,
            sum: 0.0,
            is_whole: true,
        }
    }

    /// What the run may cost, as a share of one core.
    pub(super) const fn limit(&self) -> f64 {
        self.limit
    }

    /// Takes a look; says what is to be done, and takes that for done.
    pub(super) fn look(&mut self, look: Look, spare: Spare) -> Option<Decision> {
        self.n_looks = self.n_looks.saturating_add(1);
        self.sum += look.cost();
        self.is_whole &= look.bpf.is_some();
        self.n_over = if look.cost() > self.limit { self.n_over + 1 } else { 0 };
        if self.n_over < N_OVER || self.is_exhausted {
            self.n_over = self.n_over.min(N_OVER);
            return None;
        }
        let given_up = if spare.statements {
            GivenUp::Statements
        } else if spare.connections && self.sample.one_in < SMALLEST_SAMPLE {
            self.sample.one_in *= 2;
            GivenUp::Connections(self.sample)
        } else {
            self.is_exhausted = true;
            return Some(Decision::NothingLeft);
        };
        *self = Self { sample: self.sample, ..Self::new(self.limit) };
        Some(Decision::GiveUp(given_up))
    }

    /// How the budget was kept.
    pub(super) fn budget(&self) -> Budget {
        let cost = (self.n_looks > 0).then(|| self.sum / f64::from(self.n_looks));
        let kept = match cost {
            _ if self.is_exhausted => Some(false),
            Some(cost) if cost > self.limit => Some(false),
            // Without the kernel's part only a budget that is broken already can be told.
            Some(_) => self.is_whole.then_some(true),
            None => None,
        };
        Budget { limit: self.limit, kept, cost }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
