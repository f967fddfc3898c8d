//! The report in Markdown, for the summary of a CI step, which GitHub drops as a whole when it is larger than 1 MiB.

use std::fmt::Write as _;

use super::Renderer;
use super::budget;
use super::grid::{Cell, grids};
use super::model::Report;
use super::text::format::{NONE, count, maybe_seconds, plain, quantity, three_digits};
use crate::slo::Verdict;

/// What GitHub takes of one step, bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// For the sentence that tells of a cut.
const RESERVE_BYTES: usize = 256;

/// The report for a step summary.
#[derive(Clone, Copy, Debug)]
pub struct Markdown;

impl Renderer for Markdown {
    fn render(&self, report: &Report) -> String {
        let mut page = Page { text: String::new(), left_out: 0 };
        page.line(&format!("## {} {}", word(report.verdict), code(&report.run.profile.name)));
        page.line("");
        page.line(&said(report));
        objectives(report, &mut page);
        if let Some(comparison) = &report.comparison {
            let others =
                comparison.left_out.iter().map(|other| format!("not with {}: {}", other.run, other.why));
            page.list("Compared with", comparison.baselines.iter().cloned().chain(others));
        }
        endpoints(report, &mut page);
        for grid in grids(report) {
            page.heading(&plain(&grid.title));
            page.table(&grid.columns, grid.rows.into_iter());
        }
        page.list("Budget", report.health.budget.iter().map(budget::sentence));
        page.list(
            "Not seen",
            report
                .health
                .blind_spots
                .iter()
                .map(|spot| format!("{}: {}. {}", spot.what, spot.why, spot.remedy)),
        );
        page.list("Warnings", report.warnings.iter().cloned());
        page.finish()
    }
}

/// Lines as long as there is room for them.
struct Page {
    text: String,
    /// Lines for which there was none.
    left_out: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        // A line behind one that was left out would stand in the wrong table.
        if self.left_out == 0 && self.text.len() + line.len() + 1 + RESERVE_BYTES <= MAX_BYTES {
            self.text += line;
            self.text.push('\n');
        } else {
            self.left_out += 1;
        }
    }

    fn heading(&mut self, title: &str) {
        self.line("");
        self.line(&format!("### {}", code(title)));
        self.line("");
    }

    fn table(&mut self, columns: &[String], rows: impl Iterator<Item = Vec<Cell>>) {
        let mut rows = rows.peekable();
        let numbers: Vec<bool> =
            rows.peek().map(|row| row.iter().map(|cell| cell.is_number).collect()).unwrap_or_default();
        self.line(&format!("| {} |", columns.iter().map(|name| code(name)).collect::<Vec<_>>().join(" | ")));
        let rule = |is_number: &bool| if *is_number { "---:" } else { "---" };
        self.line(&format!("| {} |", numbers.iter().map(rule).collect::<Vec<_>>().join(" | ")));
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| code(&cell.text)).collect();
            self.line(&format!("| {} |", cells.join(" | ")));
        }
    }

    fn list(&mut self, title: &str, items: impl Iterator<Item = String>) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.heading(title);
            items.for_each(|item| self.line(&format!("- {}", code(&item))));
        }
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let _ = write!(
                self.text,
                "\n**Cut here**: {} more lines do not fit into the 1 MiB of a step summary. The run directory has all \
                 of it (`report.html`, `report.json`).\n",
                self.left_out
            );
        }
        self.text
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅ PASS",
        Verdict::Warn => "⚠️ WARN",
        Verdict::Fail => "❌ FAIL",
        Verdict::Inconclusive => "❔ INCONCLUSIVE",
    }
}

fn said(report: &Report) -> String {
    let run = &report.run;
    let all = &report.overall;
    format!(
        "{} of {} in {:.1} s, p95 {}, {} with 5xx, {} aborted; run {} on {}, Linux {}",
        count(all.requests, "request"),
        code(&run.target.cmdline),
        run.duration_s,
        maybe_seconds(all.latency_s.p95),
        all.errors,
        all.aborted,
        code(&run.id),
        code(&run.host),
        code(&run.kernel),
    )
}

fn objectives(report: &Report, page: &mut Page) {
    if report.objectives.is_empty() {
        return;
    }
    page.heading("Verdicts");
    let names = ["", "objective", "metric", "of", "value", "target", "limit", "samples", "remark"];
    let rows = report.objectives.iter().map(|judgement| {
        let level = |value| quantity(value, judgement.unit);
        let number = |text| Cell { text, is_number: true };
        let words = |text: &str| Cell { text: text.to_owned(), is_number: false };
        let subject = match judgement.phase.as_str() {
            "run" => judgement.subject.clone(),
            phase => format!("{}, phase {phase}", judgement.subject),
        };
        vec![
            words(word(judgement.verdict)),
            words(&judgement.id),
            words(&judgement.metric),
            words(&subject),
            number(judgement.value.map_or_else(|| NONE.to_owned(), level)),
            number(level(judgement.target)),
            number(level(judgement.limit)),
            number(judgement.samples.to_string()),
            words(judgement.reason.as_deref().unwrap_or_default()),
        ]
    });
    page.table(&names.map(str::to_owned), rows);
}

fn endpoints(report: &Report, page: &mut Page) {
    if report.endpoints.is_empty() {
        return;
    }
    page.heading("Endpoints");
    let names = ["endpoint", "phase", "requests", "per s", "5xx", "aborted", "p50", "p95", "p99", "max"];
    let overall = (report.endpoints.len() > 1).then_some(&report.overall);
    let rows = report.endpoints.iter().chain(overall).map(|endpoint| {
        let number = |text| Cell { text, is_number: true };
        let latency = &endpoint.latency_s;
        let names = [&endpoint.endpoint, &endpoint.phase];
        let counts = [
            endpoint.requests.to_string(),
            endpoint.rate_per_s.map_or_else(|| NONE.to_owned(), three_digits),
            endpoint.errors.to_string(),
            endpoint.aborted.to_string(),
        ];
        let times = [latency.p50, latency.p95, latency.p99, latency.max].map(maybe_seconds);
        let names = names.map(|name| Cell { text: name.clone(), is_number: false });
        names.into_iter().chain(counts.into_iter().chain(times).map(number)).collect()
    });
    page.table(&names.map(str::to_owned), rows);
}

/// Text that means nothing to Markdown: numbers and words as they are, all else between backticks, in which neither
/// markup nor HTML nor a mention of somebody works. A bar would end the cell even there.
fn code(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || " .,%-µ/✅⚠❌❔\u{fe0f}".contains(c);
    if text.chars().all(is_bare) && !text.starts_with([' ', '-']) || text == NONE {
        return text.to_owned();
    }
    let harmless: String =
        plain(text).chars().map(|c| if matches!(c, '`' | '|') { '\'' } else { c }).collect();
    format!("`{harmless}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn verdict_numbers_and_sections_are_there() {
        let text = Markdown.render(&report());
        assert!(text.starts_with("## ✅ PASS x\n"), "{text}");
        assert!(text.contains(
            "| ✅ PASS | p95 | latency.p95 | all endpoints | 10.0 ms | 20.0 ms | 50.0 ms | 100 |  |"
        ));
        assert!(text.contains("| GET /a | run | 100 | 10.0 | 0 | 0 | 10.0 ms |"), "{text}");
        assert!(text.contains("### accept, listeners\n"), "{text}");
    }

    #[test]
    fn foreign_names_stay_names() {
        let mut report = report();
        report.endpoints[0].endpoint = "GET /`|<b>@someone</b>\n# x [a](http://b)\u{202e}".to_owned();
        let text = Markdown.render(&report);
        let line = text.lines().find(|line| line.contains("someone")).unwrap();
        assert!(
            line.starts_with("| `GET /''<b>@someone</b>\\n# x [a](http://b)\\u{202e}` | run |"),
            "{line}"
        );
        assert!(!text.lines().any(|line| line.starts_with("# x")));
    }

    #[test]
    fn it_never_outgrows_a_step_summary() {
        let mut report = report();
        let endpoint = report.endpoints[0].clone();
        report.endpoints.extend((0..20_000).map(|n| {
            let mut endpoint = endpoint.clone();
            endpoint.endpoint = format!("GET /{n}/{}", "x".repeat(50));
            endpoint
        }));
        let text = Markdown.render(&report);
        assert!(text.len() <= MAX_BYTES && text.len() > MAX_BYTES - 2 * RESERVE_BYTES, "{}", text.len());
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("**Cut here**: ") && last.contains("report.json"), "{last}");
    }
}
