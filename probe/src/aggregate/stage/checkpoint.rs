//! The numbers of the files of one rule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::aggregate::durations::{Durations, Resolution};
use crate::aggregate::evidence::{Evidence, Subject};
use crate::correlate::stage::CheckpointWrite;
use crate::event::Placed;
use crate::profile::Metric;

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
    pub(super) trend: [f64; 4],
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: u64,
    /// Of the last opening that was counted: its numbers replace those told before.
    #[serde(skip)]
    pub(super) told: BTreeMap<u64, (u64, u64, u64)>,
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
    pub(super) fn add(&mut self, write: &CheckpointWrite) {
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
