//! When a run is to be ended early.

use std::time::Duration;

use super::metric::{Metric, Shape, Stat};
use super::pattern::{Pattern, matches_glob};

/// Fewer samples than this abort no run, where the rule does not say: as many as a mean needs to be judged.
const MIN_SAMPLES: u64 = 30;

/// One rule: the run ends when a value over the last moments is past its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct AbortRule {
    /// Unique among the rules.
    pub id: String,
    /// The endpoints that are watched, each on its own; none for all requests together.
    pub subject: Option<Pattern>,
    /// The phases in which it is watched, `*` for anything; none for all, judged or not.
    pub phase: Option<String>,
    /// Which value is watched: a duration or a share of requests.
    pub metric: Metric,
    /// Worse than this ends the run; in the metric's unit.
    pub limit: f64,
    /// The value is that of this much time.
    pub window: Duration,
    /// With fewer samples in the window nothing is ended.
    pub min_samples: u64,
}

impl AbortRule {
    /// It is watched in the phase of this name; `None` is a run without phases.
    pub fn binds_to(&self, phase: Option<&str>) -> bool {
        match (&self.phase, phase) {
            (None, _) => true,
            (Some(pattern), Some(phase)) => matches_glob(pattern, phase),
            (Some(_), None) => false,
        }
    }

    /// A value is past the limit.
    pub fn is_past(&self, value: f64) -> bool {
        if self.metric.quantity.higher_is_better { value < self.limit } else { value > self.limit }
    }

    /// What can be watched: what a request has at its end. Deliveries are known later, and rates have no samples.
    pub(crate) fn can_watch(metric: Metric) -> bool {
        matches!(metric.quantity.shape, Shape::Durations | Shape::Share) && metric.quantity.name != "delivery"
    }

    /// How many samples a value needs before it says something.
    pub(super) fn samples_needed(metric: Metric) -> u64 {
        match metric.stat {
            Some(Stat::Percentile(percentile)) => crate::slo::samples_for_percentile(percentile),
            _ => MIN_SAMPLES,
        }
    }
}
