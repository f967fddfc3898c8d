//! Plays the phases of a run, one after the other, each with its load, under its network condition.

mod load;
mod net;

use std::path::PathBuf;

use load::LoadRun;
pub use load::{check_command, words_of};
use net::Held;
pub use net::NetPlan;
use tokio::time::{Duration, Instant, sleep_until};

use super::clock;
use crate::{
    event::{Condition, Event, Load, LoadOutcome, Phase, Proof},
    profile::{LoadPlan, PhasePlan},
};

/// What a shell says of a command that it cannot start.
const NOT_STARTED: i32 = 127;
/// The time in which conditions are put up, measured or taken away; not shown.
const BETWEEN: &str = "between";

/// What is to be played; everything has been checked.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The phases, at least one.
    pub phases: Vec<PhasePlan>,
    /// The load command of each phase, in its order, ready to be started; none for phases without load.
    pub commands: Vec<Option<Vec<String>>>,
    /// The network conditions of each phase, in its order.
    pub conditions: Vec<Option<NetPlan>>,
    /// How loads may end.
    pub load: LoadPlan,
    /// Where the output of load commands goes.
    pub out: PathBuf,
}

/// What is due in a run with a plan.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// The condition of the phase is in force, or will never be.
    InForce,
    /// The condition of the phase is gone.
    Gone(Proof),
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
    step: Step,
    ends_at: Instant,
    load: Option<LoadRun>,
    held: Option<Held>,
}

/// Where a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Its condition is put up.
    PuttingUp,
    /// It plays.
    Playing,
    /// Its condition is taken away.
    TakingAway,
}

impl Director {
    /// Nothing is started yet; without a plan nothing ever is.
    pub(super) fn new(plan: Option<RunPlan>) -> Self {
        Self { plan, at: 0, step: Step::Playing, ends_at: Instant::now(), load: None, held: None }
    }

    /// Begins the phase at hand, first with its condition: what the analysis is told of it.
    pub(super) fn begin(&mut self, events: &mut Vec<Event>) {
        let Some(plan) = &self.plan else { return };
        let Some(phase) = plan.phases.get(self.at) else { return };
        let Some(Some(net)) = plan.conditions.get(self.at) else { return self.play(events) };
        tracing::info!(phase = phase.name, "putting up the network condition `{}`", phase.net.join(", "));
        self.held = Some(Held::begin(net));
        self.step = Step::PuttingUp;
        self.ends_at = Instant::now();
        events.push(between());
    }

    /// Plays the phase at hand.
    fn play(&mut self, events: &mut Vec<Event>) {
        let Some(plan) = &self.plan else { return };
        let Some(phase) = plan.phases.get(self.at) else { return };
        self.step = Step::Playing;
        let command = plan.commands.get(self.at).and_then(Option::as_ref);
        let load = command.map(|command| LoadRun::start(command, &plan.out, self.at, &phase.name));
        let ts_ns = clock::monotonic_ns();
        let (name, judged, condition) = (phase.name.clone(), phase.judged, phase.condition());
        events.push(Event::Phase(Phase { ts_ns, name, judged, condition, is_between: false }));
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
        match (self.step, &mut self.held) {
            (Step::PuttingUp, Some(held)) => {
                held.in_force().await;
                return Due::InForce;
            }
            (Step::TakingAway, Some(held)) => return Due::Gone(held.gone().await),
            _ => {}
        }
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
            (Due::InForce, _) => {
                self.play(events);
                return true;
            }
            (Due::Gone(proof), _) => {
                events.push(self.gone(proof));
                self.held = None;
            }
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
        if let Some(held) = &mut self.held {
            held.let_go();
            self.step = Step::TakingAway;
            events.push(between());
            return true;
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
        if let Some(held) = &mut self.held {
            held.let_go();
            let proof = held.gone().await;
            events.push(self.gone(proof));
            self.held = None;
        }
    }

    fn gone(&self, proof: Proof) -> Event {
        let phase = self.plan.as_ref().and_then(|plan| plan.phases.get(self.at));
        let phase = phase.map_or_else(String::new, |phase| phase.name.clone());
        Event::Condition(Condition { ts_ns: clock::monotonic_ns(), phase, proof })
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

/// Nothing of the plan is played from now on.
fn between() -> Event {
    let name = BETWEEN.to_owned();
    Event::Phase(Phase {
        ts_ns: clock::monotonic_ns(),
        name,
        judged: false,
        condition: None,
        is_between: true,
    })
}
