//! Plays the phases of a run, one after the other, each with its load.

mod load;

use std::path::PathBuf;

use load::LoadRun;
pub use load::{check_command, words_of};
use tokio::time::{Duration, Instant, sleep_until};

use super::clock;
use crate::{
    event::{Event, Load, LoadOutcome, Phase},
    profile::{LoadPlan, PhasePlan},
};

/// What a shell says of a command that it cannot start.
const NOT_STARTED: i32 = 127;

/// What is to be played; everything has been checked.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The phases, at least one.
    pub phases: Vec<PhasePlan>,
    /// The load command of each phase, in its order, ready to be started; none for phases without load.
    pub commands: Vec<Option<Vec<String>>>,
    /// How loads may end.
    pub load: LoadPlan,
    /// Where the output of load commands goes.
    pub out: PathBuf,
}

/// What is due in a run with a plan.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// The load ended.
    LoadEnded(LoadOutcome),
    /// The phase's time is over.
    TimeOver,
}

/// Knows which phase it is.
#[derive(Debug)]
pub(super) struct Director {
    plan: Option<RunPlan>,
    at: usize,
    ends_at: Instant,
    load: Option<LoadRun>,
}

impl Director {
    /// Nothing is started yet; without a plan nothing ever is.
    pub(super) fn new(plan: Option<RunPlan>) -> Self {
        Self { plan, at: 0, ends_at: Instant::now(), load: None }
    }

    /// Begins the phase at hand: what the analysis is told of it.
    pub(super) fn begin(&mut self, events: &mut Vec<Event>) {
        let Some(plan) = &self.plan else { return };
        let Some(phase) = plan.phases.get(self.at) else { return };
        let command = plan.commands.get(self.at).and_then(Option::as_ref);
        let load = command.map(|command| LoadRun::start(command, &plan.out, self.at, &phase.name));
        let ts_ns = clock::monotonic_ns();
        let (name, judged, condition) = (phase.name.clone(), phase.judged, phase.net.clone());
        events.push(Event::Phase(Phase { ts_ns, name, judged, condition }));
        tracing::info!(phase = phase.name, "phase {} of {}", self.at + 1, plan.phases.len());
        self.ends_at = Instant::now() + phase.duration;
        match load {
            None => {}
            Some(Ok(load)) => self.load = Some(load),
            Some(Err(error)) => {
                // It was there when the run was planned.
                tracing::error!("{error:#}");
                events.push(self.ended(LoadOutcome::Failed { code: NOT_STARTED }));
            }
        }
    }

    /// Waits for what is due next; for ever where there is nothing to wait for. Nothing is lost when it is dropped.
    pub(super) async fn due(&mut self) -> Due {
        if self.plan.is_none() {
            std::future::pending::<()>().await;
        }
        let ends_at = self.ends_at;
        match &mut self.load {
            None => sleep_until(ends_at).await,
            Some(load) => {
                tokio::select! {
                    outcome = load.ended() => return Due::LoadEnded(outcome),
                    () = sleep_until(ends_at) => {}
                }
            }
        }
        Due::TimeOver
    }

    /// Does what is due: what the analysis is told of it. False at the end of the last phase.
    pub(super) fn act(&mut self, due: Due, events: &mut Vec<Event>) -> bool {
        match (due, &mut self.load) {
            (Due::LoadEnded(outcome), _) => {
                let outcome = self.accepted(outcome);
                events.push(self.ended(outcome));
                self.load = None;
            }
            (Due::TimeOver, Some(load)) => {
                let grace = self.plan.as_ref().map_or(Duration::ZERO, |plan| plan.load.grace);
                self.ends_at = load.overrun(grace);
                return true;
            }
            (Due::TimeOver, None) => {}
        }
        self.at += 1;
        self.begin(events);
        self.plan.as_ref().is_some_and(|plan| self.at < plan.phases.len())
    }

    /// A second has passed: looks at what the load generator uses.
    pub(super) fn second(&mut self) {
        if let Some(load) = &mut self.load {
            load.second();
        }
    }

    /// Ends a load that is still there; the run is over.
    pub(super) async fn stop(&mut self, events: &mut Vec<Event>) {
        if let Some(load) = &mut self.load {
            load.stop().await;
            events.push(self.ended(LoadOutcome::Stopped));
            self.load = None;
        }
    }

    /// The phase at hand with the time that it has left; none without a plan.
    pub(super) fn now(&self) -> Option<(&str, Duration)> {
        let phase = self.plan.as_ref()?.phases.get(self.at)?;
        Some((&phase.name, self.ends_at.saturating_duration_since(Instant::now())))
    }

    fn accepted(&self, outcome: LoadOutcome) -> LoadOutcome {
        let is_ok = |code| self.plan.as_ref().is_some_and(|plan| plan.load.ok_exit_codes.contains(&code));
        match outcome {
            LoadOutcome::Failed { code } if is_ok(code) => LoadOutcome::Ok { code },
            other => other,
        }
    }

    fn ended(&self, outcome: LoadOutcome) -> Event {
        let phase = self.plan.as_ref().and_then(|plan| plan.phases.get(self.at));
        Event::Load(Load {
            ts_ns: clock::monotonic_ns(),
            phase: phase.map_or_else(String::new, |phase| phase.name.clone()),
            outcome,
            busiest_thread: self.load.as_ref().and_then(LoadRun::busiest_thread),
        })
    }
}
