//! The numbers of stages as plain data, and back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckpointStats, MAX_STUCK, PipelineStats, SlowCalls, StageStats, StageTable};

/// Names of files that no rule matched, of all runs together.
const MAX_NEAR: usize = 20;

/// What a [`StageTable`] holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedStages {
    stages: BTreeMap<String, StageStats>,
    /// By the place of their rule: runs of one profile have the same rules.
    checkpoints: BTreeMap<usize, CheckpointStats>,
    pipeline: PipelineStats,
    #[serde(default)]
    slow: SlowCalls,
}

impl StageTable {
    /// Its numbers.
    pub(in crate::aggregate) fn save(&self) -> SavedStages {
        SavedStages {
            stages: self.stages.clone(),
            checkpoints: self.checkpoints.clone(),
            pipeline: self.pipeline.clone(),
            slow: self.slow.clone(),
        }
    }

    /// Adds the numbers of another run, whose clock is so far behind ours.
    pub(in crate::aggregate) fn add_saved(&mut self, saved: &SavedStages, shift_ns: i64) {
        for (name, stats) in &saved.stages {
            self.stages.entry(name.clone()).or_default().merge(stats);
        }
        for (rule, stats) in &saved.checkpoints {
            self.checkpoints.entry(*rule).or_default().merge(stats, shift_ns);
        }
        self.pipeline.merge(&saved.pipeline, shift_ns);
        self.slow.merge(&saved.slow, shift_ns);
    }
}

impl StageStats {
    fn merge(&mut self, other: &Self) {
        self.runs = self.runs.saturating_add(other.runs);
        self.again = self.again.saturating_add(other.again);
        self.untimed = self.untimed.saturating_add(other.untimed);
        self.time.merge(&other.time);
        self.transition.merge(&other.transition);
        self.io_ns = self.io_ns.saturating_add(other.io_ns);
        self.io_of_ns = self.io_of_ns.saturating_add(other.io_of_ns);
        self.lock_ns = self.lock_ns.saturating_add(other.lock_ns);
        self.has_databases |= other.has_databases;
        for (gpu, stats) in &other.gpus {
            self.gpus.entry(*gpu).or_default().merge(stats);
        }
    }
}

impl CheckpointStats {
    fn merge(&mut self, other: &Self, shift_ns: i64) {
        let counts = [
            (&mut self.files, other.files),
            (&mut self.edits, other.edits),
            (&mut self.mapped, other.mapped),
            (&mut self.lost, other.lost),
            (&mut self.bytes, other.bytes),
            (&mut self.writes, other.writes),
            (&mut self.syncs, other.syncs),
        ];
        for (own, other) in counts {
            *own = own.saturating_add(other);
        }
        let durations = [
            (&mut self.total, &other.total),
            (&mut self.io, &other.io),
            (&mut self.write, &other.write),
            (&mut self.sync, &other.sync),
            (&mut self.rename, &other.rename),
        ];
        for (own, other) in durations {
            own.merge(other);
        }
        for (errno, n) in &other.errors {
            let sum = self.errors.entry(*errno).or_default();
            *sum = sum.saturating_add(*n);
        }
        // Each run's trend is by the time since its own first file: together they are the trend of a run like these.
        for (own, other) in self.trend.iter_mut().zip(other.trend) {
            *own += other;
        }
        let shifted = |ns: u64| ns.saturating_add_signed(shift_ns);
        self.first_ns = match (self.first_ns, other.first_ns.map(shifted)) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        if other.files > 0 {
            self.last_ns = self.last_ns.max(shifted(other.last_ns));
        }
    }
}

impl PipelineStats {
    fn merge(&mut self, other: &Self, shift_ns: i64) {
        let counts = [
            (&mut self.documents, other.documents),
            (&mut self.begun, other.begun),
            (&mut self.completed, other.completed),
            (&mut self.begun_completed, other.begun_completed),
            (&mut self.resumed, other.resumed),
            (&mut self.dropped, other.dropped),
        ];
        for (own, other) in counts {
            *own = own.saturating_add(other);
        }
        self.time.merge(&other.time);
        self.transition.merge(&other.transition);
        let stuck = other.stuck.iter().cloned();
        self.stuck
            .extend(stuck.map(|(doc, last, since_ns)| (doc, last, since_ns.saturating_add_signed(shift_ns))));
        self.stuck.sort_by(|a, b| a.2.cmp(&b.2).then_with(|| a.0.cmp(&b.0)));
        self.stuck.truncate(MAX_STUCK);
        for stage in &other.order {
            if !self.order.iter().any(|(name, _)| *name == stage.0) {
                self.order.push(stage.clone());
            }
        }
        let near = other.near.iter().filter(|name| !self.near.contains(name)).cloned().collect::<Vec<_>>();
        self.near.extend(near);
        self.near.truncate(MAX_NEAR);
    }
}
