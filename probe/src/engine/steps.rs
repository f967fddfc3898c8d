//! Gives up parts of a run's view, where the [`Controller`] says so.

use anyhow::Result;
use probe_common::rooms::Rooms;

use super::{
    budget::{Controller, Decision, Look, Spare},
    clock,
    load::Kernel,
    pump::Pump,
    uprobes::Uprobes,
};
use crate::{
    event::{Budget, GivenUp, StepDown},
    probes::sqlite,
    report::of_a_core,
};

/// The steps of a run; none where it has no budget.
#[derive(Debug)]
pub(super) struct Steps {
    controller: Option<Controller>,
    rooms: Rooms,
    given_up: Rooms,
}

impl Steps {
    pub(super) fn new(limit: Option<f64>, rooms: Rooms) -> Self {
        Self { controller: limit.map(Controller::new), rooms, given_up: Rooms::NONE }
    }

    /// Takes what the run cost of late, where that has just been measured, and does what follows.
    pub(super) fn look(
        &mut self,
        look: Option<Look>,
        kernel: &mut Kernel,
        uprobes: &mut Uprobes,
        pump: &mut Pump,
    ) -> Result<()> {
        let (Some(look), Some(controller)) = (look, &mut self.controller) else { return Ok(()) };
        let spare = Spare {
            statements: uprobes.has_any(sqlite::STATEMENTS.functions),
            connections: self.rooms.has(Rooms::SOCKET),
        };
        let (limit, cost_before) = (of_a_core(controller.limit()), look.cost());
        match controller.look(look, spare) {
            None => {}
            Some(Decision::NothingLeft) => tracing::warn!(
                "the budget of {limit} cannot be kept: the run costs {}, and nothing is left to be given up",
                of_a_core(cost_before)
            ),
            Some(Decision::GiveUp(what)) => {
                tracing::warn!(
                    "the run costs {}, over its budget of {limit}: {what}",
                    of_a_core(cost_before)
                );
                match what {
                    GivenUp::Statements => {
                        uprobes.give_up(kernel, sqlite::STATEMENTS.functions)?;
                        kernel.forget_statements();
                        self.given_up = self.given_up.with(Rooms::SQLITE_STATEMENTS);
                    }
                    GivenUp::Connections(sample) => kernel.keep(sample)?,
                }
                pump.step_down(StepDown { ts_ns: clock::monotonic_ns(), what, cost_before });
            }
        }
        Ok(())
    }

    /// Rooms that were on when the run began.
    pub(super) const fn rooms_given_up(&self) -> Rooms {
        self.given_up
    }

    /// How the budget was kept.
    pub(super) fn budget(&self) -> Option<Budget> {
        self.controller.as_ref().map(Controller::budget)
    }
}
