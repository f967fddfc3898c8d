//! The load generator of a phase.

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Subject};
use crate::event::Load;
use crate::profile::Metric;

/// What is known of the load commands of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LoadStats {
    /// How many there were.
    commands: u64,
    /// The most that a thread of one of them used of a core over a second.
    busiest_thread: Option<f64>,
}

impl LoadStats {
    pub(super) fn add(&mut self, load: &Load) {
        self.merge(&Self { commands: 1, busiest_thread: load.busiest_thread });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.commands = self.commands.saturating_add(other.commands);
        self.busiest_thread =
            [self.busiest_thread, other.busiest_thread].into_iter().flatten().reduce(f64::max);
    }

    /// Under the only name that it has, once there is one.
    pub(super) fn subject(&self) -> Option<(&str, &dyn Subject)> {
        (self.commands > 0).then_some(("command", self as _))
    }
}

impl Subject for LoadStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        let is_known = metric.quantity.name == "busiest_thread";
        is_known.then_some(Evidence::Value { value: self.busiest_thread, samples: self.commands })
    }
}
