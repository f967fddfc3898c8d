//! The live line on stderr: a spinner on a terminal, a line every few seconds anywhere else.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{clock, load::Kernel, pump::Pump, tree::Tree};
use crate::{aggregate::Progress, event::Abort, slo::Verdict, target::Root};

/// Seconds between two lines where stderr is no terminal.
const LINE_EVERY_S: u64 = 5;

/// Shows where a run stands.
#[derive(Debug)]
pub(super) struct Live {
    bar: Option<ProgressBar>,
    duration: Option<Duration>,
    began: Instant,
    n_seconds: u64,
    /// The user asked for warnings and errors only: the log's level says so.
    is_quiet: bool,
}

impl Live {
    pub(super) fn new(duration: Option<Duration>) -> Self {
        let is_quiet = !tracing::enabled!(tracing::Level::INFO);
        let bar = (!is_quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Self { bar, duration, began: Instant::now(), n_seconds: 0, is_quiet }
    }

    /// Everything is in place. Scripts wait for this line: its beginning is part of the contract.
    pub(super) fn attached(&self, roots: &[Root], tree: &Tree) {
        if self.is_quiet {
            return;
        }
        let mut ports: Vec<u16> = tree.listeners.iter().map(|listener| listener.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let listening =
            if ports.is_empty() { "not listening yet".to_owned() } else { format!("port {ports}") };
        let until =
            self.duration.map_or_else(|| "until Ctrl-C".to_owned(), |duration| format!("for {duration:?}"));
        let root = roots.first().map(|root| root.pid).unwrap_or_default();
        self.say(&format!(
            "attached to pid {root}: {} processes, {} threads, {listening}; {until}",
            tree.n_processes, tree.n_threads
        ));
    }

    pub(super) fn second(&mut self, pump: &Pump, kernel: &Kernel, phase: Option<(&str, Duration)>) {
        let line = || {
            let lost: u64 = kernel.losses().unwrap_or_default().iter().map(|(_, count)| count).sum();
            let progress = pump.progress(clock::monotonic_ns());
            match phase {
                Some((name, left)) => {
                    let room = 80_usize.saturating_sub(name.len() + 2);
                    let verdicts = pump.verdicts_so_far(clock::monotonic_ns());
                    let line = phase_line(left, &verdicts, &progress, lost);
                    format!("{name}  {}", line.chars().take(room).collect::<String>())
                }
                None => progress_line(self.began.elapsed(), self.duration, &progress, lost),
            }
        };
        if self.is_quiet {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_message(line());
            bar.tick();
        } else if self.n_seconds > 0 && self.n_seconds.is_multiple_of(LINE_EVERY_S) {
            self.say(&line());
        }
        self.n_seconds += 1;
    }

    /// A rule ends the run.
    pub(super) fn aborted(&self, abort: &Abort) {
        self.say(&format!(
            "abort rule `{}`: {} is {:.4} over {} requests of the last {:.0} s, limit {}",
            abort.rule, abort.metric, abort.value, abort.samples, abort.window_s, abort.limit
        ));
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.println(line);
        } else {
            // Nobody reads a closed stderr; the run goes on.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// At most 80 columns.
fn progress_line(elapsed: Duration, total: Option<Duration>, progress: &Progress, lost: u64) -> String {
    let time = total.map_or_else(
        || format!("{}s", elapsed.as_secs()),
        |total| format!("{}/{}s", elapsed.as_secs(), total.as_secs()),
    );
    let p95 = progress.latency_p95_s.map_or_else(|| "-".to_owned(), |p95| format!("{:.1} ms", p95 * 1e3));
    format!(
        "{time}  {} requests  {:.0}/s  p95 {p95}  {} errors  {} aborted  {lost} lost",
        progress.requests, progress.rate_per_s, progress.errors, progress.aborted
    )
}

/// What stands behind the phase's name.
fn phase_line(left: Duration, verdicts: &[Verdict], progress: &Progress, lost: u64) -> String {
    let p95 = progress.latency_p95_s.map_or_else(|| "-".to_owned(), |p95| format!("{:.1} ms", p95 * 1e3));
    format!(
        "{}s left  {}{:.0}/s  p95 {p95}  {} errors  {} aborted  {lost} lost",
        left.as_secs(),
        standing(verdicts),
        progress.rate_per_s,
        progress.errors,
        progress.aborted
    )
}

/// How the verdicts stand, with what stands between them and the rest of the line.
fn standing(verdicts: &[Verdict]) -> String {
    let words = [
        (Verdict::Pass, "pass"),
        (Verdict::Warn, "warn"),
        (Verdict::Fail, "fail"),
        (Verdict::Inconclusive, "open"),
    ];
    let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
    let said = words.map(|(verdict, word)| (count(verdict), word));
    let said: Vec<String> =
        said.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if said.is_empty() { String::new() } else { format!("{}  ", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line fits a terminal, also after a long and busy run.
    #[test]
    fn line() {
        let progress = Progress {
            requests: 123_456_789,
            rate_per_s: 9_876.5,
            latency_p95_s: Some(12.3456),
            errors: 12_345,
            aborted: 999,
        };
        let line = progress_line(Duration::from_mins(90), Some(Duration::from_hours(2)), &progress, 0);
        assert_eq!(
            line,
            "5400/7200s  123456789 requests  9876/s  p95 12345.6 ms  12345 errors  999 aborted  0 lost"
        );
        let verdicts = [Verdict::Pass, Verdict::Inconclusive, Verdict::Pass];
        assert_eq!(
            phase_line(Duration::from_secs(3), &verdicts, &Progress::default(), 0),
            "3s left  2 pass, 1 open  0/s  p95 -  0 errors  0 aborted  0 lost"
        );
        assert_eq!(standing(&[]), "");
        assert_eq!(
            progress_line(Duration::from_secs(3), None, &Progress::default(), 7),
            "3s  0 requests  0/s  p95 -  0 errors  0 aborted  7 lost"
        );
    }
}
