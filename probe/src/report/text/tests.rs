//! What the text looks like as a whole is held by the golden reports; here is what must hold for any report.

use super::*;
use crate::report::tests::report;

fn text(report: &Report) -> String {
    Text { colour: false }.render(report)
}

#[test]
fn the_verdict_is_the_first_and_the_last_line() {
    let text = text(&report());
    let line = "PASS  all of 1 verdict";
    assert_eq!(text.lines().next(), Some(line));
    assert_eq!(text.lines().last(), Some(line));
    assert!(text.contains("latency.p95 of all endpoints, 100 requests, 95 % interval"));
}

#[test]
fn no_line_is_too_long_and_nothing_is_unprintable() {
    let nasty = "GET /\u{1b}[2J\u{202e}".to_owned() + &"very/".repeat(60);
    let mut report = report();
    let huge = u64::MAX;
    let model = report.endpoints[0].clone();
    for n in 0..3 {
        let mut endpoint = model.clone();
        endpoint.endpoint = format!("{nasty}{n}");
        (endpoint.requests, endpoint.errors, endpoint.aborted) = (huge, huge, huge);
        endpoint.rate_per_s = Some(123_456.789);
        endpoint.latency_s.max = Some(98_765.4);
        report.endpoints.push(endpoint);
    }
    report.run.target.cmdline.clone_from(&nasty);
    report.run.id.clone_from(&nasty);
    report.run.host.clone_from(&nasty);
    report.run.profile.sha256 = "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}".to_owned();
    report.accept.listeners[0].addr = Some(nasty.clone());
    (report.accept.listeners[0].accepted, report.accept.listeners[0].overflows) = (huge, Some(huge));
    report.syscalls[0].role.clone_from(&nasty);
    (report.syscalls[0].calls, report.syscalls[0].bytes) = (huge, huge);
    report.objectives[0].id = "an-id-of-the-greatest-length-there-may-be-".repeat(2)[..60].to_owned();
    report.objectives[0].subject.clone_from(&nasty);
    report.objectives[0].reason = Some(nasty.clone());
    report.warnings.push(nasty.clone());
    report.health.lost_by_cause.insert(nasty.clone(), huge);
    report.health.blind_spots.push(crate::event::BlindSpot {
        what: nasty.clone(),
        why: nasty.clone(),
        remedy: nasty,
    });
    let text = text(&report);
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        assert!(line.chars().all(|c| c.is_ascii_graphic() || " µ…".contains(c)), "{line:?}");
        assert_eq!(line.trim_end(), line, "no blanks at the end: {line:?}");
    }
    assert!(text.contains('…'));
}

#[test]
fn colour_only_where_asked_for_and_only_for_verdicts() {
    let report = report();
    let coloured = Text { colour: true }.render(&report);
    assert!(coloured.starts_with("\u{1b}[32mPASS\u{1b}[0m  all"));
    assert_eq!(coloured.matches("\u{1b}[32m").count(), 3, "first line, last line, the objective's");
    assert_eq!(coloured.replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), text(&report));
}

#[test]
fn an_empty_run_is_told() {
    let mut report = report();
    report.endpoints.clear();
    report.syscalls.clear();
    report.accept.listeners.clear();
    report.objectives.clear();
    report.verdict = Verdict::Inconclusive;
    let text = text(&report);
    assert!(text.starts_with("INCONCLUSIVE  nothing was judged: the profile has no objectives\n"));
    for title in ["VERDICTS", "ENDPOINTS", "WHERE", "LISTENERS", "SOCKET"] {
        assert!(!text.contains(title), "{title}");
    }
}
