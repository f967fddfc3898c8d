//! The numbers of stages, of checkpoint files, and of the pipeline as a whole.

mod saved;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::durations::{Durations, Resolution};
use super::evidence::{Evidence, Subject};
use crate::correlate::stage::{CheckpointWrite, DocEnd, StageRun};
use crate::event::Placed;
use crate::profile::{Metric, Profile};
pub(super) use saved::SavedStages;

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
        }
    }
}

/// The numbers of the files of one rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckpointStats {
    /// Put in place.
    pub files: u64,
    /// Of these, by a request that edits.
    pub edits: u64,
    /// Of these, with bytes that could be written unseen through a mapping.
    pub mapped: u64,
    /// Written, but never put in place.
    pub lost: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Calls that synced.
    pub syncs: u64,
    /// Open to in place.
    pub total: Durations,
    /// Time inside open, write, fsync, close and rename.
    pub io: Durations,
    /// Time inside the writing calls of a file.
    pub write: Durations,
    /// Time inside the syncing calls of a file that had some.
    pub sync: Durations,
    /// Time inside the rename of a file that had one.
    pub rename: Durations,
    /// Failed calls, by `errno`.
    pub errors: BTreeMap<u32, u64>,
    /// Sums for the trend of sizes over time: time, bytes, time², time × bytes; seconds since the first file.
    trend: [f64; 4],
    first_ns: Option<u64>,
    last_ns: u64,
    /// Of the last opening that was counted: its numbers replace those told before.
    #[serde(skip)]
    told: BTreeMap<u64, (u64, u64, u64)>,
}

impl Default for CheckpointStats {
    fn default() -> Self {
        let part = || Durations::new(Resolution::Coarse);
        Self {
            files: 0,
            edits: 0,
            mapped: 0,
            lost: 0,
            bytes: 0,
            writes: 0,
            syncs: 0,
            total: Durations::new(Resolution::Fine),
            io: part(),
            write: part(),
            sync: part(),
            rename: part(),
            errors: BTreeMap::new(),
            trend: [0.0; 4],
            first_ns: None,
            last_ns: 0,
            told: BTreeMap::new(),
        }
    }
}

/// Openings of which the numbers may still be replaced.
const MAX_TOLD: usize = 1024;

impl CheckpointStats {
    fn add(&mut self, write: &CheckpointWrite) {
        let file = &write.file;
        if file.errors > 0 {
            *self.errors.entry(file.errno).or_default() += u64::from(file.errors);
        }
        if write.is_lost {
            self.lost += u64::from(file.placed != Placed::Failed);
            return;
        }
        // The same opening, told again because it was written to after a close or has a new name: only what came since.
        let before = self.told.insert(file.file, (file.bytes, file.writes, file.syncs));
        while self.told.len() > MAX_TOLD {
            self.told.pop_first();
        }
        let (bytes, writes, syncs) = before.unwrap_or_default();
        self.bytes += file.bytes.saturating_sub(bytes);
        self.writes += file.writes.saturating_sub(writes);
        self.syncs += file.syncs.saturating_sub(syncs);
        if before.is_some() {
            return;
        }
        self.files += 1;
        self.edits += u64::from(write.is_edit);
        self.mapped += u64::from(file.is_mapped);
        if let Some(opened_ns) = file.opened_ns {
            self.total.record(file.ts_ns.saturating_sub(opened_ns));
        }
        self.io.record(file.open_ns + file.write_ns + file.sync_ns + file.close_ns + file.rename_ns);
        self.write.record(file.write_ns);
        if file.syncs > 0 {
            self.sync.record(file.sync_ns);
        }
        if file.rename_ns > 0 {
            self.rename.record(file.rename_ns);
        }
        let first_ns = *self.first_ns.get_or_insert(file.ts_ns);
        self.last_ns = self.last_ns.max(file.ts_ns);
        let (at, bytes) = (file.ts_ns.saturating_sub(first_ns) as f64 / 1e9, file.bytes as f64);
        for (sum, value) in self.trend.iter_mut().zip([at, bytes, at * at, at * bytes]) {
            *sum += value;
        }
    }

    /// How much larger files are at the end than at the beginning, by a straight line through their sizes: 0.5 for half
    /// as large again. None when there are too few, or all at one moment.
    pub fn growth_ratio(&self) -> Option<f64> {
        let n = self.files as f64;
        let [t, b, tt, tb] = self.trend;
        let spread = n * tt - t * t;
        let span_s = self.last_ns.saturating_sub(self.first_ns?) as f64 / 1e9;
        if self.files < 10 || spread <= 0.0 || b <= 0.0 {
            return None;
        }
        let slope = (n * tb - t * b) / spread;
        let at_begin = (b - slope * t) / n;
        (at_begin > 0.0).then(|| slope * span_s / at_begin)
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
}

impl StageTable {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            rules: profile.stages.rules.iter().map(|rule| rule.source.clone()).collect(),
            stages: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            pipeline: PipelineStats::default(),
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

    pub(super) fn add_checkpoint(&mut self, write: &CheckpointWrite) {
        self.checkpoints.entry(write.rule).or_default().add(write);
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

impl Subject for CheckpointStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        Some(match metric.quantity.name {
            "total" => {
                Evidence::Durations { durations: &self.total, untimed: self.files - self.total.count() }
            }
            "write" => Evidence::Durations { durations: &self.write, untimed: 0 },
            "fsync" => Evidence::Durations { durations: &self.sync, untimed: 0 },
            "lost_rate" => Evidence::Share { part: self.lost, whole: self.files + self.lost },
            _ => return None,
        })
    }
}
