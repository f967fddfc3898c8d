//! Doubts about a measurement, each ending in what to do about it. They change no verdict.

use super::model::{Endpoint, Report};
use crate::aggregate::{MAX_FOLDED, OTHER};
use crate::event::EndedBy;

/// Past this share of aborted or open requests the latency of the others is a flattering selection.
const MAX_UNANSWERED: f64 = 0.01;

/// The doubts about a report whose other parts are complete.
pub(super) fn find(report: &Report, n_folded_endpoints: usize, n_folded_outgoing: usize) -> Vec<String> {
    let all = &report.overall;
    [
        ended(report),
        nothing_seen(all),
        unanswered(all),
        untimed(all),
        lost(report),
        overflows(report),
        folded(n_folded_endpoints),
        folded_outgoing(n_folded_outgoing),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ended(report: &Report) -> Option<String> {
    let run = &report.run;
    match run.ended_by {
        None => Some(
            "The recording has no end: probe was killed or could not write any more. What stands here is what \
             was recorded until then; let the run end by itself or with Ctrl-C."
                .to_owned(),
        ),
        Some(EndedBy::TargetExit) => Some(format!(
            "The target exited after {:.1} s and ended the run; look at its log, and start it anew for a whole run.",
            run.duration_s
        )),
        Some(_) => None,
    }
}

fn nothing_seen(all: &Endpoint) -> Option<String> {
    (all.requests + all.aborted + all.in_flight == 0).then(|| {
        "No request was seen. Is there load, and does it reach this process (`probe doctor --pid PID`)?"
            .to_owned()
    })
}

fn unanswered(all: &Endpoint) -> Option<String> {
    let unanswered = all.aborted + all.in_flight;
    let share = unanswered as f64 / (all.requests + unanswered).max(1) as f64;
    (share > MAX_UNANSWERED).then(|| {
        format!(
            "{:.1} % of the requests were aborted or still open at the end ({} and {}). They are in no latency, \
             which may flatter it: compare the client's timeout with the latency's maximum.",
            share * 100.0,
            all.aborted,
            all.in_flight
        )
    })
}

fn untimed(all: &Endpoint) -> Option<String> {
    (all.untimed > 0).then(|| {
        format!(
            "Not timed, but counted: {} of {} requests, because their arrival was not seen (most often it was \
             before the attach); attach before the load starts.",
            all.untimed, all.requests
        )
    })
}

fn lost(report: &Report) -> Option<String> {
    report.health.lost.filter(|lost| *lost > 0).map(|lost| {
        format!(
            "{lost} events were lost, so counts are too low; give probe a larger ring buffer or more CPU."
        )
    })
}

fn overflows(report: &Report) -> Option<String> {
    let worst = report.accept.listeners.iter().max_by_key(|listener| listener.overflows)?;
    worst.overflows.filter(|overflows| *overflows > 0).map(|overflows| {
        format!(
            "The kernel dropped {overflows} packets of handshakes with port {} because the accept queue was full{}; their \
             clients waited a second or more for the retry, which no latency here holds. Accept faster or \
             raise the application's backlog (and net.core.somaxconn).",
            worst.port,
            worst.backlog_limit.map_or_else(String::new, |limit| format!(" (room for {limit})"))
        )
    })
}

fn folded(n_folded: usize) -> Option<String> {
    (n_folded > 0).then(|| {
        let at_least = if n_folded >= MAX_FOLDED { "at least " } else { "" };
        format!(
            "{at_least}{n_folded} endpoints past the profile's bound are counted together as `{OTHER}`; name \
             the application's routes in the profile (`routes = [\"GET /items/{{id}}\"]`)."
        )
    })
}

fn folded_outgoing(n_folded: usize) -> Option<String> {
    (n_folded > 0).then(|| {
        let at_least = if n_folded >= MAX_FOLDED { "at least " } else { "" };
        format!(
            "{at_least}{n_folded} kinds of outgoing calls past the profile's bound are counted together as \
             `{OTHER}`; raise it in the profile (`[endpoints]`, `max`)."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    /// The doubts about a report with one thing changed.
    fn warned(n_folded: usize, change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = report();
        change(&mut report);
        find(&report, n_folded, 0)
    }

    #[test]
    fn a_clean_run_has_no_warnings() {
        assert_eq!(warned(0, |_| ()), Vec::<String>::new());
    }

    #[test]
    fn each_doubt_is_found_alone() {
        let only = |warnings: Vec<String>, part: &str| {
            assert!(warnings.len() == 1 && warnings[0].contains(part), "{part}: {warnings:?}");
        };
        only(warned(0, |report| report.run.ended_by = None), "no end");
        only(
            warned(0, |report| report.run.ended_by = Some(EndedBy::TargetExit)),
            "target exited after 10.0 s",
        );
        only(
            warned(0, |report| {
                report.overall.requests = 0;
            }),
            "No request was seen",
        );
        only(warned(0, |report| report.overall.aborted = 5), "(5 and 0)");
        only(warned(0, |report| report.overall.untimed = 1), "counted: 1 of 100");
        only(warned(0, |report| report.health.lost = Some(3)), "3 events were lost");
        only(
            warned(0, |report| report.accept.listeners[0].overflows = Some(9)),
            "dropped 9 packets of handshakes with port 8000",
        );
        only(warned(3, |_| ()), "3 endpoints past");
        only(warned(MAX_FOLDED, |_| ()), "at least 10000 endpoints");
    }
}
