//! What a GPU did while something else went on.

use serde::{Deserialize, Serialize};

use crate::correlate::Overlap;

const PERCENT: f64 = 0.01;

/// What a GPU did while requests of one endpoint were in the application, or while a stage ran: the sum over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OverlapStats {
    /// Requests, or ends of the stage.
    pub intervals: u64,
    /// Their time for which the GPU is known.
    pub covered_ns: u128,
    /// Percent times nanoseconds.
    pub busy: u128,
    /// Microjoules; a moment that several requests share counts for each of them.
    pub energy_uj: Option<u128>,
    /// Most memory at a time.
    pub memory_bytes: Option<u64>,
}

impl OverlapStats {
    pub(in crate::aggregate) fn add(&mut self, overlap: Overlap) {
        self.intervals += 1;
        self.covered_ns += u128::from(overlap.covered_ns);
        self.busy += u128::from(overlap.busy);
        let energy_uj = overlap.energy_uj.map(u128::from);
        self.energy_uj = energy_uj.map(|energy| energy + self.energy_uj.unwrap_or(0)).or(self.energy_uj);
        self.memory_bytes = self.memory_bytes.max(overlap.memory_bytes);
    }

    pub(in crate::aggregate) fn merge(&mut self, other: &Self) {
        self.intervals = self.intervals.saturating_add(other.intervals);
        self.covered_ns = self.covered_ns.saturating_add(other.covered_ns);
        self.busy = self.busy.saturating_add(other.busy);
        let energy_uj = other.energy_uj.map(|energy| energy.saturating_add(self.energy_uj.unwrap_or(0)));
        self.energy_uj = energy_uj.or(self.energy_uj);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
    }

    /// Share of the time in which a kernel ran; none where nothing is known.
    pub fn util(&self) -> Option<f64> {
        (self.covered_ns > 0).then(|| self.busy as f64 / self.covered_ns as f64 * PERCENT)
    }
}

/// Sums by the number of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Overlaps(Vec<OverlapStats>);

impl Overlaps {
    pub(super) const NONE: Self = Self(Vec::new());

    pub(super) fn add(&mut self, index: usize, overlap: Overlap) {
        if index >= self.0.len() {
            self.0.resize(index + 1, OverlapStats::default());
        }
        self.0[index].add(overlap);
    }

    /// Only those that were joined with anything.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, &OverlapStats)> {
        self.0.iter().enumerate().filter(|(_, stats)| stats.intervals > 0)
    }
}
