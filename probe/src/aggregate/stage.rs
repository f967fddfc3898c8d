//! The numbers of stages, of checkpoint files, and of the pipeline as a whole.

mod checkpoint;
mod saved;
mod slow;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::durations::{Durations, Resolution};
use super::evidence::{Evidence, Subject};
use super::gpu::OverlapStats;
use crate::correlate::Overlap;
use crate::correlate::stage::{CheckpointWrite, DocEnd, StageRun};
use crate::event::SlowCall;
use crate::profile::{Metric, Profile};
pub use checkpoint::CheckpointStats;
pub(super) use saved::SavedStages;
pub use slow::SlowCalls;

/// Documents that are named as stuck.
const MAX_STUCK: usize = 10;

/// The numbers of one stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageStats {
    /// Times that it ended.
    pub runs: u64,
    /// Of these, for a document that had it before.
    pub again: u64,
    /// Of these, with a beginning that was not seen.
    pub untimed: u64,
    /// From its beginning to its end.
    pub time: Durations,
    /// From the end of the stage before to its first activity.
    pub transition: Durations,
    /// Sum of the time in calls on files, over those with a time.
    pub io_ns: u128,
    /// Sum of the time of those of which the time in files is known.
    pub io_of_ns: u128,
    /// Sum of the time of the same in which they waited for locks of SQLite.
    #[serde(default)]
    pub lock_ns: u128,
    /// Databases were seen: no wait is none.
    #[serde(default)]
    pub has_databases: bool,
    /// What each GPU did over the time of those with a time, by its index.
    #[serde(default)]
    pub gpus: BTreeMap<u32, OverlapStats>,
}

impl Default for StageStats {
    fn default() -> Self {
        Self {
            runs: 0,
            again: 0,
            untimed: 0,
            time: Durations::new(Resolution::Fine),
            transition: Durations::new(Resolution::Fine),
            io_ns: 0,
            io_of_ns: 0,
            lock_ns: 0,
            has_databases: false,
            gpus: BTreeMap::new(),
        }
    }
}

impl StageStats {
    /// The part of its time in calls on files; none where that is not known.
    pub fn file_share(&self) -> Option<f64> {
        self.of_known(self.io_ns)
    }

    /// The part of its time in which it waited for locks of SQLite; none where nothing was seen of any database.
    pub fn sqlite_share(&self) -> Option<f64> {
        self.of_known(self.lock_ns).filter(|_| self.has_databases)
    }

    /// The part of its time in which a GPU was busy, by time alone: of the one that was so most. None without a GPU.
    pub fn gpu_share(&self) -> Option<f64> {
        self.gpus.values().filter_map(OverlapStats::util).reduce(f64::max)
    }

    fn of_known(&self, ns: u128) -> Option<f64> {
        (self.io_of_ns > 0).then(|| ns as f64 / self.io_of_ns as f64)
    }

    const fn share(&self, value: Option<f64>) -> Evidence<'_> {
        Evidence::Value { value, samples: self.runs - self.untimed }
    }
}

/// The numbers of all documents together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PipelineStats {
    /// Documents of which anything was seen.
    pub documents: u64,
    /// Of these, seen from their beginning.
    pub begun: u64,
    /// With their last stage done.
    pub completed: u64,
    /// Of these, seen from their beginning.
    pub begun_completed: u64,
    /// Went on after an interruption.
    pub resumed: u64,
    /// Beginning to the last stage's end, of those of which both were seen.
    pub time: Durations,
    /// From a stage's end to the next one's first activity, all stages together.
    pub transition: Durations,
    /// Unfinished at the end, the longest quiet ones: document, last stage, since when.
    pub stuck: Vec<(String, Option<String>, u64)>,
    /// Stages in their order, with their numbers.
    pub order: Vec<(String, Option<u32>)>,
    /// Names of files that no rule matched, where no rule matched anything.
    pub near: Vec<String>,
    /// Documents that were too many to follow.
    pub dropped: u64,
}

impl Default for PipelineStats {
    fn default() -> Self {
        Self {
            documents: 0,
            begun: 0,
            completed: 0,
            begun_completed: 0,
            resumed: 0,
            time: Durations::new(Resolution::Fine),
            transition: Durations::new(Resolution::Fine),
            stuck: Vec::new(),
            order: Vec::new(),
            near: Vec::new(),
            dropped: 0,
        }
    }
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct StageTable {
    /// The patterns of the rules.
    rules: Vec<String>,
    stages: BTreeMap<String, StageStats>,
    checkpoints: BTreeMap<usize, CheckpointStats>,
    pipeline: PipelineStats,
    slow: SlowCalls,
}

impl StageTable {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            rules: profile.stages.rules.iter().map(|rule| rule.source.clone()).collect(),
            stages: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            pipeline: PipelineStats::default(),
            slow: SlowCalls::default(),
        }
    }

    /// All documents together under their name, once there is one.
    pub(super) fn pipeline_subject(&self) -> Option<(&str, &dyn Subject)> {
        (self.pipeline.documents > 0).then_some(("documents", &self.pipeline as _))
    }

    /// By the pattern of their rule.
    pub(super) fn named_checkpoints(&self) -> Vec<(&str, &dyn Subject)> {
        let named = self.checkpoints.iter();
        named
            .filter_map(|(rule, stats)| Some((self.rules.get(*rule)?.as_str(), stats as &dyn Subject)))
            .collect()
    }

    pub(super) fn add_run(&mut self, run: &StageRun) {
        let stats = self.stages.entry(run.stage.clone()).or_default();
        stats.runs += 1;
        stats.again += u64::from(run.is_again);
        if let Some(transition_ns) = run.transition_ns {
            stats.transition.record(transition_ns);
            self.pipeline.transition.record(transition_ns);
        }
        let Some((began_ns, _)) = run.began else {
            stats.untimed += 1;
            return;
        };
        let took_ns = run.end_ns.saturating_sub(began_ns);
        stats.time.record(took_ns);
        if let Some(io_ns) = run.io_ns {
            stats.io_ns += u128::from(io_ns.min(took_ns));
            stats.io_of_ns += u128::from(took_ns);
        }
    }

    /// A stage that one thread did waited for a lock.
    pub(super) fn add_lock_wait(&mut self, stage: &str, ns: u64) {
        if let Some(stats) = self.stages.get_mut(stage) {
            stats.lock_ns += u128::from(ns);
        }
    }

    /// What a GPU did while this stage ran once.
    pub(super) fn add_gpu(&mut self, stage: &str, gpu: u32, overlap: Overlap) {
        if let Some(stats) = self.stages.get_mut(stage) {
            stats.gpus.entry(gpu).or_default().add(overlap);
        }
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self, has_databases: bool) {
        for stats in self.stages.values_mut() {
            stats.has_databases |= has_databases;
        }
    }

    pub(super) fn add_checkpoint(&mut self, write: &CheckpointWrite) {
        self.checkpoints.entry(write.rule).or_default().add(write);
    }

    pub(super) fn add_slow(&mut self, call: &SlowCall) {
        self.slow.add(call);
    }

    pub(super) fn add_document(&mut self, end: &DocEnd) {
        let pipeline = &mut self.pipeline;
        pipeline.documents += 1;
        pipeline.begun += u64::from(end.is_begun);
        pipeline.completed += u64::from(end.is_complete);
        pipeline.begun_completed += u64::from(end.is_complete && end.is_begun);
        pipeline.resumed += u64::from(end.is_resumed);
        if let Some(took_ns) = end.took_ns {
            pipeline.time.record(took_ns);
        }
        if !end.is_complete {
            pipeline.stuck.push((end.doc.clone(), end.last.clone(), end.since_ns));
            pipeline.stuck.sort_by(|a, b| a.2.cmp(&b.2).then_with(|| a.0.cmp(&b.0)));
            pipeline.stuck.truncate(MAX_STUCK);
        }
    }

    pub(super) fn end(&mut self, order: &[(String, Option<u32>)], near: &[String], dropped: u64) {
        self.pipeline.order = order.to_vec();
        self.pipeline.near = near.to_vec();
        self.pipeline.dropped = dropped;
    }

    /// Stages in their order.
    pub fn stages(&self) -> Vec<(&str, Option<u32>, &StageStats)> {
        let known = &self.pipeline.order;
        known
            .iter()
            .filter_map(|(name, index)| Some((name.as_str(), *index, self.stages.get(name)?)))
            .collect()
    }

    /// By the place of their rule.
    pub const fn checkpoints(&self) -> &BTreeMap<usize, CheckpointStats> {
        &self.checkpoints
    }

    /// Calls on files that were slow.
    pub const fn slow(&self) -> &SlowCalls {
        &self.slow
    }

    /// All documents together.
    pub const fn pipeline(&self) -> &PipelineStats {
        &self.pipeline
    }
}

impl Subject for StageStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        Some(match metric.quantity.name {
            "time" => Evidence::Durations { durations: &self.time, untimed: self.untimed },
            "transition" => Evidence::Durations { durations: &self.transition, untimed: 0 },
            "repeated_rate" => Evidence::Share { part: self.again, whole: self.runs },
            "rate" => Evidence::Count { count: self.runs, samples: self.runs },
            "file_share" => self.share(self.file_share()),
            "sqlite_share" => self.share(self.sqlite_share()),
            "gpu_share" => self.share(self.gpu_share()),
            _ => return None,
        })
    }
}

impl Subject for PipelineStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        Some(match metric.quantity.name {
            "time" => Evidence::Durations { durations: &self.time, untimed: 0 },
            "transition" => Evidence::Durations { durations: &self.transition, untimed: 0 },
            // What was seen from its beginning; where no rule says what that is, all.
            "completion" if self.begun > 0 => {
                Evidence::Share { part: self.begun_completed, whole: self.begun }
            }
            "completion" => Evidence::Share { part: self.completed, whole: self.documents },
            "rate" => Evidence::Count { count: self.completed, samples: self.documents },
            _ => return None,
        })
    }
}
