//! What was measured, in the shape in which it is judged.

use super::Durations;
use crate::profile::Metric;

/// What there is for one metric of one subject.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'a> {
    /// Durations that were seen, and how many more there were that could not be timed.
    Durations {
        /// Those that were timed.
        durations: &'a Durations,
        /// Those that were not.
        untimed: u64,
    },
    /// `part` of `whole`.
    Share {
        /// How many.
        part: u64,
        /// Of how many.
        whole: u64,
    },
    /// A part of `whole` of which only bounds are known.
    ShareBetween {
        /// As many at least.
        least: u64,
        /// As many at most.
        most: u64,
        /// Of how many.
        whole: u64,
    },
    /// A number of things that happened; a rate is made of it by the length of the run.
    Count {
        /// How many.
        count: u64,
        /// Things that were looked at; nothing is known when there were none.
        samples: u64,
    },
    /// A value, in the unit of the metric; none when it was not measured.
    Value {
        /// The value.
        value: Option<f64>,
        /// What it is made of.
        samples: u64,
    },
    /// Whatever was measured, it says nothing: why.
    Doubtful(&'static str),
}

/// Something with a name that objectives can be about.
pub trait Subject {
    /// What was measured; none for a metric of another kind.
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>>;
}
