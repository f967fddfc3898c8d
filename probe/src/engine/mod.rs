//! One run: attach, drain the ring on a timer, end, sum up. The only place that knows both the kernel side
//! and the analysis.

mod blocks;
mod budget;
mod clock;
mod direct_reads;
mod disks;
mod files;
mod health;
mod kern;
mod live;
mod load;
mod mark;
mod object;
mod plan;
mod pump;
pub mod record;
mod steps;
mod streams;
mod summary;
mod threads;
mod tracepoints;
mod tree;
mod undisturbed;
mod uprobes;

use std::{path::PathBuf, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
pub use load::{HookResult, Kernel, LoadConfig, Verified};
pub use mark::{SOCKET as MARK_SOCKET, mark};
pub use plan::{NetPlan, RunPlan, check_command, words_of};
use probe_common::rooms::Rooms;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
pub use uprobes::{TriedFunctions, try_functions};

use crate::{
    cli::stop::Stop,
    event::{EndedBy, Event},
    numbers::Numbers,
    probes::{gpu, resources},
    profile::Profile,
    report::Report,
    target::{Alive, Root},
};

/// How often the ring is drained. The kernel side never wakes us (see `probe-ebpf/src/shared/emit.rs`), and to wake up
/// costs more than what is then done: a hundred times a second took 0.7 % of a core with nothing to drain.
const DRAIN_EVERY: Duration = Duration::from_millis(25);

/// A duration that no run outlives, for runs without an end of their own.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);

/// What a run needs; everything has been checked.
#[derive(Debug)]
pub struct EngineConfig {
    /// The processes that were asked for, at least one.
    pub roots: Vec<Root>,
    /// Trace their children, present and future.
    pub children: bool,
    /// The rooms that are on.
    pub rooms: Rooms,
    /// Programs that are not to be attached, so that the rung below them is tried.
    pub without: Vec<String>,
    /// End after this time.
    pub duration: Option<Duration>,
    /// The phases to play, when there are any.
    pub plan: Option<RunPlan>,
    /// Size of the ring, bytes, a power of two.
    pub ring_bytes: u32,
    /// The kernel's type information.
    pub btf: PathBuf,
    /// The run's directory.
    pub out: PathBuf,
    /// Keep the decoded events there.
    pub record: bool,
    /// What the run may cost, as a share of one core.
    pub budget: Option<f64>,
    /// How to look at GPUs.
    pub gpu: gpu::Config,
    /// Routes and objectives.
    pub profile: Arc<Profile>,
    /// Says when the user wants the end.
    pub stop: Stop,
}

impl EngineConfig {
    /// What the kernel side needs of it.
    fn load(&self) -> LoadConfig<'_> {
        LoadConfig {
            btf: &self.btf,
            ring_bytes: self.ring_bytes,
            follow_children: self.children,
            rooms: self.rooms,
            without: &self.without,
        }
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    /// The report with its verdict.
    pub report: Report,
    /// What the report is made of.
    pub numbers: Numbers,
    /// What went wrong without ending the run.
    pub warnings: Vec<String>,
}

/// Everything that can wake the run.
#[derive(Clone, Debug)]
enum Tick {
    /// Drain the ring.
    Drain,
    /// Another second: progress, own cost.
    Second,
    /// The root processes have ended.
    RootsGone,
    /// A phase began from outside.
    Mark(Event),
    /// Something in the plan of the run is due.
    Plan(plan::Due),
    /// The run is over.
    End(EndedBy),
}

/// Runs to the end. Whatever was attached is gone when this returns.
pub fn run(config: EngineConfig) -> Result<Finished> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the event loop")?;
    runtime.block_on(run_async(config))
}

async fn run_async(config: EngineConfig) -> Result<Finished> {
    let attach_began = clock::monotonic_ns();
    let alive = Alive::open(&config.roots);
    let (mut kernel, lower) = Kernel::attached(&config.load())?;
    let mut uprobes = uprobes::Uprobes::new(config.rooms);
    // Before a thread is traced, so that no call is seen without its meaning.
    uprobes.look(&mut kernel, tree::processes(&config.roots, config.children));
    // Nothing is counted before the first thread is handed over.
    let start_ns = clock::monotonic_ns();
    let mut tree = tree::Tree::adopt(&mut kernel, &config.roots, config.children)?;
    let mut health = health::Health::begin(config.budget.is_some());
    let mut steps = steps::Steps::new(config.budget, config.rooms);
    let attach_ns = clock::monotonic_ns().saturating_sub(attach_began);
    let mut begun = summary::Begun::now(start_ns, attach_ns, &config.roots, config.rooms);
    kernel.watch_disks(begun.disks())?;
    begun.blind_to(summary::of_rungs(&lower));
    let recorder = config
        .record
        .then_some(config.out.as_path())
        .map(|directory| record::Writer::create(directory, &begun.header))
        .transpose()?;
    let gpu = config.rooms.has(Rooms::GPU).then(|| gpu::Sampler::start(config.gpu.clone()));
    let mut pump = pump::Pump::new(Arc::clone(&config.profile), kernel.take_files()?, recorder, gpu, &lower);
    // Who reads that the run is under way may mark it.
    let marks = mark::Marks::listen(&config.out);
    let mut live = live::Live::new(config.duration);
    live.attached(&config.roots, &tree);

    let mut usage = config.rooms.has(Rooms::RESOURCES).then(|| resources::Sampler::new(&config.roots));
    look(&mut usage, &mut pump, &tree);
    let mut director = plan::Director::new(config.plan.clone());
    pump.tell(|events| director.begin(events));
    let end_at = Instant::now() + config.duration.unwrap_or(FOREVER);
    let (mut drain, mut second) = intervals();
    // Once each: adding their descriptors to the runtime costs more than a look at the ring.
    let (mut asked, mut over) = (pin!(config.stop.asked()), pin!(alive.over()));
    let mut roots_gone = false;
    let ended_by = loop {
        let tick = tokio::select! {
            _ = drain.tick() => Tick::Drain,
            _ = second.tick() => Tick::Second,
            () = sleep_until(end_at) => Tick::End(EndedBy::Duration),
            asked = &mut asked => {
                asked.context("failed to wait for `SIGINT`")?;
                Tick::End(EndedBy::Signal)
            }
            over = &mut over, if !roots_gone => over.context("failed to watch the target").map(|()| Tick::RootsGone)?,
            due = director.due() => Tick::Plan(due),
            mark = marks.next() => Tick::Mark(mark),
        };
        match tick {
            Tick::Drain => {
                pump.drain(&mut kernel, &mut tree);
                tree.take_appeared().for_each(|pid| uprobes.appeared(pid));
                uprobes.tick(&mut kernel);
                steps.look(health.tick(&kernel), &mut kernel, &mut uprobes, &mut pump)?;
            }
            Tick::Second => {
                tree.second();
                look(&mut usage, &mut pump, &tree);
                uprobes.look(&mut kernel, tree.pids());
                director.second();
                live.second(&pump, &kernel, director.now());
                if is_aborted(&mut pump, &live) {
                    break EndedBy::Abort;
                }
            }
            Tick::RootsGone => roots_gone = true,
            Tick::Mark(mark) => {
                pump.drain(&mut kernel, &mut tree);
                look(&mut usage, &mut pump, &tree);
                pump.tell(|events| events.push(mark));
            }
            Tick::Plan(due) => {
                // What happened in the phase is counted in it.
                pump.drain(&mut kernel, &mut tree);
                look(&mut usage, &mut pump, &tree);
                if !pump.tell(|events| director.act(due, events)) {
                    break EndedBy::Plan;
                }
            }
            Tick::End(by) => break by,
        }
        // Workers may outlive the process that started them.
        if roots_gone {
            pump.drain(&mut kernel, &mut tree);
            if tree.is_gone() {
                break EndedBy::TargetExit;
            }
        }
    };
    look(&mut usage, &mut pump, &tree);
    let mut last_words = Vec::new();
    let stopping = director.stop(&mut last_words);
    draining(stopping, &mut drain, || pump.drain(&mut kernel, &mut tree)).await;
    pump.drain(&mut kernel, &mut tree);
    pump.tell(|events| events.append(&mut last_words));
    live.end();
    let end_ns = clock::monotonic_ns();
    // At once: what programs miss from here on is not this run's, and reading the maps can make them miss something.
    let cost = health.end(&kernel, steps.budget());
    pump.end(end_ns, &tree);
    begun.blind_to(uprobes.blind_spots());
    begun.without(steps.rooms_given_up());
    let summary = begun.sum(end_ns, ended_by, &cost, &kernel, &mut tree, &pump)?;
    // From here on nothing of ours is in the kernel any more.
    drop(kernel);
    Ok(pump.finish(&summary))
}

/// For the ring, and for what is looked at each second.
fn intervals() -> (tokio::time::Interval, tokio::time::Interval) {
    let (mut drain, mut second) = (interval(DRAIN_EVERY), interval(Duration::from_secs(1)));
    drain.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    (drain, second)
}

/// Whether a rule of the profile ends the run now; it is told.
fn is_aborted(pump: &mut pump::Pump, live: &live::Live) -> bool {
    let Some(abort) = pump.abort_due(clock::monotonic_ns()) else { return false };
    live.aborted(&abort);
    pump.tell(|events| events.push(Event::Abort(abort)));
    true
}

/// Looks at what the processes use.
fn look(usage: &mut Option<resources::Sampler>, pump: &mut pump::Pump, tree: &tree::Tree) {
    let Some(usage) = usage else { return };
    let around = || resources::Around {
        backlog: tree.backlog(),
        ports: tree.ports(),
        disks: disks::Disks::now().busy(pump.devices()),
    };
    if let Some(seen) = usage.look(tree.pids(), clock::monotonic_ns(), around) {
        pump.tell(|events| events.push(Event::Resources(seen)));
    }
}

/// Waits for something without leaving the ring to itself.
async fn draining(what: impl Future<Output = ()>, drain: &mut tokio::time::Interval, mut each: impl FnMut()) {
    let mut what = pin!(what);
    loop {
        tokio::select! {
            () = &mut what => return,
            _ = drain.tick() => each(),
        }
    }
}
