//! Numbers per GPU, and what GPUs did while requests were in the application and while stages ran.

mod spread;
mod stats;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use spread::Spread;
pub use stats::{GpuStats, InstanceStats, OverlapStats, ProcessStats};

use super::durations::{Durations, Resolution};
use super::endpoint::EndpointIndex;
use crate::correlate::Overlap;
use crate::event::Gpu;

/// GPUs of the largest machine, twice.
const MAX_GPUS: usize = 32;
/// What a driver knows of a moment has come this much later, nanoseconds: its samples span a second at most.
const SETTLED_NS: u64 = 2_000_000_000;
/// Intervals that wait for that: a few seconds of the busiest server. Past it the oldest is joined as it stands.
const MAX_WAITING: usize = 1 << 16;

/// All GPUs of a run.
#[derive(Clone, Debug)]
pub struct Gpus {
    by_index: BTreeMap<u32, (String, GpuStats)>,
    /// Times that are to be joined: whose, from, to; in the order of their ends, nearly.
    waiting: VecDeque<(Whose, u64, u64)>,
    /// What was joined of stages, to be fetched.
    stages: Vec<StageOnGpu>,
    /// How long one look at one GPU takes.
    look: Durations,
}

/// Whose time waits to be joined.
#[derive(Clone, Debug)]
enum Whose {
    Endpoint(EndpointIndex),
    Stage(Arc<str>),
}

/// What one GPU did while a stage ran.
#[derive(Clone, Debug)]
pub(super) struct StageOnGpu {
    /// The stage.
    pub(super) stage: Arc<str>,
    /// The GPU.
    pub(super) gpu: u32,
    /// What it did.
    pub(super) overlap: Overlap,
}

impl Gpus {
    pub(super) const fn new() -> Self {
        Self {
            by_index: BTreeMap::new(),
            waiting: VecDeque::new(),
            stages: Vec::new(),
            look: Durations::new(Resolution::Coarse),
        }
    }

    /// The same GPUs with nothing counted yet.
    pub(super) fn after(&self) -> Self {
        let gpus = self.by_index.iter().map(|(index, (name, stats))| (*index, (name.clone(), stats.after())));
        Self { by_index: gpus.collect(), ..Self::new() }
    }

    pub(super) fn add(&mut self, gpu: &Gpu) {
        let index = match gpu {
            Gpu::Device(device) => device.gpu,
            Gpu::Look(look) => look.gpu,
            Gpu::Slow(slow) => slow.gpu,
            Gpu::Counters(counters) => counters.gpu,
            Gpu::Lost(lost) => lost.gpu,
        };
        if self.by_index.len() >= MAX_GPUS && !self.by_index.contains_key(&index) {
            return;
        }
        let (_, stats) =
            self.by_index.entry(index).or_insert_with(|| (index.to_string(), GpuStats::default()));
        match gpu {
            Gpu::Device(device) => stats.device = Some(device.clone()),
            Gpu::Look(look) => {
                stats.look(look);
                self.look.record(look.took_ns);
                self.join_before(look.ts_ns.saturating_sub(SETTLED_NS));
            }
            Gpu::Slow(slow) => stats.slow(slow),
            Gpu::Counters(counters) => stats.counters(counters),
            Gpu::Lost(lost) => stats.lost_ns = Some(lost.ts_ns),
        }
    }

    /// A request of this endpoint was in the application for this time.
    pub(super) fn in_app(&mut self, endpoint: EndpointIndex, span: (u64, u64)) {
        self.wait(Whose::Endpoint(endpoint), span);
    }

    /// This stage of a document ran for this time.
    pub(super) fn in_stage(&mut self, stage: &str, span: (u64, u64)) {
        self.wait(Whose::Stage(Arc::from(stage)), span);
    }

    /// What was joined of stages since the last call.
    pub(super) fn stages(&mut self) -> impl Iterator<Item = StageOnGpu> {
        self.stages.drain(..)
    }

    fn wait(&mut self, whose: Whose, (from_ns, to_ns): (u64, u64)) {
        if self.by_index.is_empty() {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.join_first();
        }
        self.waiting.push_back((whose, from_ns, to_ns));
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self) {
        while self.join_first() {}
    }

    fn join_before(&mut self, settled_ns: u64) {
        while self.waiting.front().is_some_and(|(_, _, to_ns)| *to_ns <= settled_ns) {
            self.join_first();
        }
    }

    fn join_first(&mut self) -> bool {
        let Some((whose, from_ns, to_ns)) = self.waiting.pop_front() else { return false };
        for (gpu, (_, stats)) in &mut self.by_index {
            match &whose {
                Whose::Endpoint(endpoint) => stats.join(*endpoint, from_ns, to_ns),
                Whose::Stage(stage) => self.stages.push(StageOnGpu {
                    stage: Arc::clone(stage),
                    gpu: *gpu,
                    overlap: stats.over(from_ns, to_ns),
                }),
            }
        }
        true
    }

    /// Each GPU that was looked at, with its name, by index.
    pub fn each(&self) -> impl Iterator<Item = (u32, &str, &GpuStats)> {
        let named = self.by_index.iter().map(|(index, (name, stats))| (*index, name.as_str(), stats));
        // One that never answered is a blind spot, not a row of nothing.
        named.filter(|(_, _, stats)| stats.device.is_some())
    }

    /// What looking costs: how long a look at a GPU takes.
    pub const fn look(&self) -> &Durations {
        &self.look
    }
}
