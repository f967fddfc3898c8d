//! The right half of the flow in one piece: events in, report out. The same live and from a recording.

use std::sync::Arc;

use crate::aggregate::{Aggregate, Progress};
use crate::correlate::{Correlator, Finding};
use crate::event::{Event, Summary};
use crate::profile::Profile;
use crate::report::{self, Report};

/// Everything right of the events.
#[derive(Debug)]
pub struct Analysis {
    profile: Arc<Profile>,
    correlator: Correlator,
    aggregate: Aggregate,
    /// Between correlation and aggregation; kept for its memory.
    findings: Vec<Finding>,
}

impl Analysis {
    /// Ready for the first event.
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            correlator: Correlator::default(),
            aggregate: Aggregate::new(&profile),
            profile,
            findings: Vec::new(),
        }
    }

    /// Takes one event; they must come in the order in which they were decoded.
    pub fn event(&mut self, event: &Event) {
        self.correlator.event(event, &mut self.findings);
        self.aggregate_findings();
    }

    /// Where the run stands, at this moment of `CLOCK_MONOTONIC`.
    pub fn progress(&self, now_ns: u64) -> Progress {
        self.aggregate.progress(now_ns)
    }

    /// Nothing more will come: judges the run.
    pub fn finish(mut self, summary: &Summary) -> Report {
        self.correlator.finish(summary.end_ns, &mut self.findings);
        self.aggregate_findings();
        report::build(summary, &self.profile, &self.aggregate)
    }

    fn aggregate_findings(&mut self) {
        for finding in self.findings.drain(..) {
            self.aggregate.add(&finding);
        }
    }
}
