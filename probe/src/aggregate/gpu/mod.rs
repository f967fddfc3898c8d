//! Numbers per GPU, and what GPUs did while requests were in the application and while stages ran.
//!
//! A look tells of the time behind it, which can be that of the phase before: each part of a run takes of it what lies
//! within its own time, so that nothing is counted twice and nothing is missing.

mod overlap;
mod spread;
mod stats;
mod subject;
mod within;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use overlap::OverlapStats;
pub use spread::Spread;
pub use stats::{GpuStats, InstanceStats, ProcessStats};
use within::Within;

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

/// All GPUs of a run, or of a part of one.
#[derive(Clone, Debug)]
pub struct Gpus {
    by_index: BTreeMap<u32, (String, GpuStats)>,
    /// The time that is counted.
    within: Within,
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
            within: Within::ALL,
            waiting: VecDeque::new(),
            stages: Vec::new(),
            look: Durations::new(Resolution::Coarse),
        }
    }

    /// The same GPUs with nothing counted yet, from this moment on.
    pub(super) fn after(&self, from_ns: u64) -> Self {
        let within = Within::from(from_ns);
        let gpus = self.by_index.iter();
        let gpus = gpus.map(|(index, (name, stats))| (*index, (name.clone(), stats.after(within))));
        Self { by_index: gpus.collect(), within, ..Self::new() }
    }

    /// What lies behind this moment is of the next part of the run.
    pub(super) fn close(&mut self, until_ns: u64) {
        self.within = self.within.until(until_ns);
        self.by_index.values_mut().for_each(|(_, stats)| stats.within = self.within);
    }

    pub(super) fn add(&mut self, gpu: &Gpu) {
        let index = match gpu {
            Gpu::Device(device) => device.gpu,
            Gpu::Look(look) => look.gpu,
            Gpu::Slow(slow) => slow.gpu,
            Gpu::Counters(counters) => counters.gpu,
            Gpu::Lost(lost) => lost.gpu,
        };
        // What a GPU is holds for the parts that follow, too.
        let is_device = matches!(gpu, Gpu::Device(_)) && gpu.ts_ns() < self.within.until_ns;
        let is_within = is_device || self.within.holds(gpu.ts_ns());
        let is_known = self.by_index.contains_key(&index);
        let is_room = is_within && self.by_index.len() < MAX_GPUS;
        // Of a part that is over only looks are of use, as long as they can tell of its time.
        let is_late = matches!(gpu, Gpu::Look(_) | Gpu::Slow(_))
            && self.within.holds(gpu.ts_ns().saturating_sub(SETTLED_NS));
        if !(is_known || is_room) || !(is_within || is_late) {
            return;
        }
        let within = self.within;
        let (_, stats) =
            self.by_index.entry(index).or_insert_with(|| (index.to_string(), GpuStats::new(within)));
        match gpu {
            Gpu::Device(device) => stats.device = Some(device.clone()),
            Gpu::Look(look) => {
                stats.look(look);
                if is_within {
                    self.look.record(look.took_ns);
                }
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

    /// A document was finished.
    pub(super) fn document(&mut self) {
        self.by_index.values_mut().for_each(|(_, stats)| stats.documents += 1);
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
            let overlap = stats.over(from_ns, to_ns);
            match &whose {
                Whose::Endpoint(endpoint) => stats.endpoints.add(*endpoint, overlap),
                Whose::Stage(stage) => {
                    self.stages.push(StageOnGpu { stage: Arc::clone(stage), gpu: *gpu, overlap });
                }
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

#[cfg(test)]
mod tests;
