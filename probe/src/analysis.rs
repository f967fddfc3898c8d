//! The right half of the flow in one piece: events in, report out. The same live and from a recording.

use std::sync::Arc;

use crate::aggregate::{AbortWatch, Phases, Progress};
use crate::correlate::lock::{LockBoard, LockFinding};
use crate::correlate::stage::StageTracker;
use crate::correlate::work::WorkTracker;
use crate::correlate::{Correlator, Finding};
use crate::event::{Abort, Course, Event, Summary};
use crate::numbers::Numbers;
use crate::profile::Profile;
use crate::report::{self, Report};
use crate::slo::{Confidence, Verdict, judge};

/// Load commands that are kept: one per phase, and a recording may be anyone's.
const MAX_LOADS: usize = 100;
/// Steps that are kept: there are far fewer kinds of them, and again a recording may be anyone's.
const MAX_STEPS: usize = 100;

/// Everything right of the events.
#[derive(Debug)]
pub struct Analysis {
    profile: Arc<Profile>,
    correlator: Correlator,
    stages: StageTracker,
    locks: LockBoard,
    work: WorkTracker,
    phases: Phases,
    course: Course,
    watch: AbortWatch,
    /// Between correlation and aggregation; kept for its memory.
    findings: Vec<Finding>,
    lock_findings: Vec<LockFinding>,
    work_findings: Vec<Finding>,
}

impl Analysis {
    /// Ready for the first event.
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            correlator: Correlator::default(),
            stages: StageTracker::new(Arc::clone(&profile)),
            locks: LockBoard::default(),
            work: WorkTracker::default(),
            phases: Phases::new(Arc::clone(&profile)),
            course: Course::default(),
            watch: AbortWatch::new(&profile),
            profile,
            findings: Vec::new(),
            lock_findings: Vec::new(),
            work_findings: Vec::new(),
        }
    }

    /// Takes one event; they must come in the order in which they were decoded.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Condition(condition) => self.phases.prove(condition),
            Event::Phase(phase) => {
                self.phases.begin(phase);
                self.watch.begin(&phase.name);
            }
            Event::Load(load) if self.course.loads.len() < MAX_LOADS => {
                self.phases.load(load);
                self.course.loads.push(load.clone());
            }
            Event::Abort(abort) => {
                self.course.abort.get_or_insert_with(|| abort.clone());
            }
            Event::StepDown(step) if self.course.steps.len() < MAX_STEPS => self.course.steps.push(*step),
            _ => {}
        }
        self.work.event(event);
        self.correlator.event(event, &mut self.findings);
        self.stages.event(event, &mut self.findings);
        self.locks.event(event, &mut self.lock_findings);
        self.aggregate_findings(event.ts_ns());
    }

    /// Where the run stands, at this moment of `CLOCK_MONOTONIC`.
    pub fn progress(&self, now_ns: u64) -> Progress {
        self.phases.now().progress(now_ns)
    }

    /// A rule that ends the run at this moment of `CLOCK_MONOTONIC`.
    pub fn abort_due(&mut self, now_ns: u64) -> Option<Abort> {
        self.watch.due(now_ns)
    }

    /// The verdicts if the phase at hand ended now; none where nothing is judged.
    pub fn verdicts_so_far(&self, now_ns: u64) -> Vec<Verdict> {
        let Some(part) = self.phases.parts().last().filter(|part| part.judged) else { return Vec::new() };
        let confidence = Confidence {
            duration_s: now_ns.saturating_sub(part.start_ns) as f64 / 1e9,
            loss_ratio: 0.0,
            undecoded_ratio: 0.0,
            is_finished: true,
            drift: None,
            too_short: None,
            // Why is told at the end.
            sampled: self.course.is_sampled().then(String::new),
            sampled_stages: None,
            without_statements: None,
            doubt: None,
        };
        let judged = judge(&self.profile, &part.numbers, &part.name, &confidence);
        judged.into_iter().map(|judgement| judgement.verdict).collect()
    }

    /// Nothing more will come: judges the run.
    pub fn finish(self, summary: &Summary) -> Report {
        self.finish_with_numbers(summary).0
    }

    /// As [`Self::finish`], with all the numbers behind the report.
    pub fn finish_with_numbers(mut self, summary: &Summary) -> (Report, Numbers) {
        self.correlator.finish(summary.end_ns, &mut self.findings);
        self.stages.finish(&mut self.findings);
        self.locks.finish(summary.end_ns, &mut self.lock_findings);
        self.aggregate_findings(summary.end_ns);
        self.work.finish(&mut self.findings);
        self.aggregate_findings(summary.end_ns);
        self.phases.finish();
        let report = report::build(summary, &self.profile, &self.phases, &self.course);
        (report, Numbers::of(summary, &self.profile, &self.phases, &self.course))
    }

    fn aggregate_findings(&mut self, ts_ns: u64) {
        let locks = self.lock_findings.drain(..).map(Finding::Lock);
        for finding in self.findings.drain(..).chain(locks) {
            if let Finding::Exchange(exchange) = &finding {
                self.watch.add(exchange);
            }
            self.work.finding(&finding, &mut self.work_findings);
            self.phases.add(&finding, finding.ts_ns().unwrap_or(ts_ns));
        }
        for finding in self.work_findings.drain(..) {
            self.phases.add(&finding, finding.ts_ns().unwrap_or(ts_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Accepted, Closed, Ending, Request, Response};

    /// Events as no kernel would send them, on few connections so that they meet.
    fn any_event() -> impl Strategy<Value = Event> {
        let conn = 0u64..3;
        let accepted = (conn.clone(), any::<(u64, Option<u64>, u32, u16)>()).prop_map(
            |(conn, (ts_ns, established_ns, backlog, port))| {
                Event::Accepted(Accepted { ts_ns, conn, pid: 1, port, path: None, established_ns, backlog })
            },
        );
        let times = any::<(Option<u64>, u64, u64, Option<u64>)>();
        let request = (conn.clone(), "[A-Z]{1,5}", "[ -~]{0,40}", times, any::<u64>()).prop_map(
            |(conn, method, path, (arrival_ns, first_read_ns, last_read_ns, acked_ns), bytes)| {
                Event::Request(Request {
                    outgoing: None,
                    conn,
                    pid: 1,
                    tid: 1,
                    port: 80,
                    method,
                    path,
                    arrival_ns,
                    first_read_ns,
                    last_read_ns,
                    bytes,
                    complete: true,
                    acked_ns,
                })
            },
        );
        let ending = prop_oneof![Just(Ending::Complete), Just(Ending::Aborted), Just(Ending::InFlight)];
        let response = (conn.clone(), ending, any::<(u16, Option<u64>, u64, u64)>()).prop_map(
            |(conn, ending, (status, first_send_ns, last_send_ns, bytes))| {
                Event::Response(Response { conn, status, first_send_ns, last_send_ns, bytes, ending })
            },
        );
        let closed = (conn, any::<(u64, bool, bool, Option<u64>)>()).prop_map(
            |(conn, (ts_ns, reset, unaccepted, acked_ns))| {
                Event::Closed(Closed { ts_ns, conn, port: 80, reset, unaccepted, acked_ns })
            },
        );
        prop_oneof![accepted, request, response, closed]
    }

    proptest! {
        /// A recording may be anyone's: whatever stands in it gives a report, the same each time.
        #[test]
        fn any_events_give_a_report(
            events in prop::collection::vec(any_event(), 0..60),
            start_ns: u64,
            end_ns: u64,
        ) {
            let profile = Arc::new(Profile::builtin().unwrap());
            let summary = Summary { start_ns, end_ns, ..Summary::default() };
            let report = || {
                let mut analysis = Analysis::new(Arc::clone(&profile));
                for event in &events {
                    analysis.event(event);
                    analysis.progress(end_ns);
                }
                analysis.finish(&summary)
            };
            let first = report();
            let n_requests: u64 = first.endpoints.iter().map(|endpoint| endpoint.requests).sum();
            prop_assert_eq!(n_requests, first.overall.requests);
            prop_assert_eq!(first, report());
        }
    }
}
