//! `cargo xtask test --kernels`: the kernel tests on each kernel of the ladder and on this machine's own, and what they
//! say side by side. Counts must be the same everywhere.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::summary::Summary;
use super::{BUILD, table};
use crate::say::say;
use crate::setup::{self, Goal, Ready};
use crate::vm::{self, Processor, Size};
use crate::{exec, paths};

/// What a user asks for.
pub(super) struct Options {
    /// The program of the tests.
    pub(super) suite: &'static str,
    pub(super) filter: Option<String>,
    /// Kernel lines, or `host`; all of them where none is named.
    pub(super) on: Vec<String>,
    /// Only the trials that tell one kernel from another.
    pub(super) is_brief: bool,
    /// Keep the results in the README and beside the bounds; a run of everything always does.
    pub(super) writes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { suite: KERNEL, filter: None, on: Vec::new(), is_brief: false, writes: false }
    }
}

/// The tests of the kernel programs.
const KERNEL: &str = "kernel";
/// The tests of network conditions.
pub(super) const NET: &str = "net";
/// The name of this machine's own kernel among those of the ladder.
const HOST: &str = "host";
/// All trials on one emulated kernel.
const LIMIT: Duration = Duration::from_mins(40);
const MEMORY_MIB: u32 = 3072;
/// Machines at once: one takes one processor.
const AT_ONCE: usize = 2;

/// What a trial says that cannot run: for no other reason may one be skipped here.
const KERNEL_LACKS: &str = "(skipped: the kernel lacks ";

/// What the tests said on one kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    /// `uname -r`.
    pub(super) release: String,
    pub(super) is_host: bool,
    /// How each trial ended.
    pub(super) trials: BTreeMap<String, Ending>,
    /// The counts that the trials vouch for.
    pub(super) counts: BTreeMap<(String, String), u64>,
    /// The hooks of each room, and how the kernel takes them: `works`, `perf` by perf's tracepoint, `missing`.
    pub(super) hooks: BTreeMap<String, BTreeMap<String, String>>,
    /// Instructions of each program for the verifier; none where the kernel does not tell.
    pub(super) verified: BTreeMap<String, Option<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Failed,
    Skipped,
}

/// Gives all results as one sum.
pub(super) fn run(options: &Options) -> Result<Summary> {
    let ready = setup::run(Goal::Tests, &BUILD)?;
    let program = test_program(options.suite)?;
    let is_asked = |line: &vm::Line| options.on.is_empty() || options.on.iter().any(|name| name == line.name);
    let lines: Vec<vm::Line> = vm::LINES.into_iter().filter(is_asked).collect();
    let mut columns = Vec::new();
    for pair in lines.chunks(AT_ONCE) {
        let kernels =
            pair.iter().map(|line| vm::kernel(*line, Processor::OWN)).collect::<Result<Vec<_>>>()?;
        let found = std::thread::scope(|scope| {
            let run = |at: usize| on_kernel(&kernels[at], pair[at].name, &program, options, &ready);
            let runs: Vec<_> = (0..pair.len()).map(|at| scope.spawn(move || run(at))).collect();
            let died = |_| anyhow::anyhow!("failed to run the tests: a thread panicked");
            runs.into_iter().map(|run| run.join().map_err(died)?).collect::<Result<Vec<_>>>()
        })?;
        columns.extend(found);
    }
    if options.on.is_empty() || options.on.iter().any(|name| name == HOST) {
        columns.push(on_host(&program, options, &ready)?);
    }
    columns.sort_by_key(|column| numbers(&column.release));
    let mut total = Summary::default();
    for column in &columns {
        for ending in column.trials.values() {
            match ending {
                Ending::Passed => total.passed += 1,
                Ending::Failed => total.failed += 1,
                Ending::Skipped => total.skipped += 1,
            }
        }
        if column.trials.is_empty() {
            say!("test: no result from Linux {}: counted as one failed test", column.release);
            total.failed += 1;
        }
    }
    for difference in differences(&columns) {
        say!("test: {difference}");
        total.failed += 1;
    }
    let is_whole = options.on.is_empty() && options.filter.is_none() && !options.is_brief;
    table::show(&columns, options.suite == KERNEL && (is_whole || options.writes))?;
    Ok(total)
}

/// The tests' program, built.
fn test_program(suite: &str) -> Result<String> {
    let mut cargo = exec::cargo();
    cargo.args(["test", "--no-run", "--package", "probe-tests", "--test", suite, "--message-format", "json"]);
    let messages = exec::capture(&mut cargo)?;
    let program = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == suite).then(|| message["executable"].as_str().map(str::to_owned))?
    });
    program.with_context(|| format!("failed to find the program of the {suite} tests in cargo's answer"))
}

/// What `env` is to set and run, without its place.
fn words(program: &str, options: &Options, ready: &Ready) -> Vec<String> {
    let mut words = vec!["PROBE_TEST_LADDER=1".to_owned()];
    words.push(format!("PROBE_TEST_PYTHON={}", ready.python.display()));
    words.push(format!("PATH={}", std::env::var("PATH").unwrap_or_default()));
    if options.is_brief {
        words.push("PROBE_TEST_BRIEF=1".to_owned());
    }
    words.push(program.to_owned());
    words.extend(options.filter.clone());
    words
}

fn on_kernel(
    kernel: &vm::Kernel,
    name: &str,
    program: &str,
    options: &Options,
    ready: &Ready,
) -> Result<Column> {
    say!("test: Linux {}", kernel.release);
    let taps = [(); 2].map(|()| Tap::new(name));
    let [out, err] = &taps;
    let size = Size { cpus: 2, memory_mib: MEMORY_MIB, limit: LIMIT };
    let mut command = vec!["env".to_owned(), "PROBE_TEST_EMULATED=1".to_owned()];
    command.extend(words(program, options, ready));
    let archive = vm::archive(kernel, paths::root(), &command)?;
    let ended = vm::boot(kernel, &archive, &size, out.clone(), err.clone());
    crate::stop::check()?;
    if let Err(error) = ended {
        say!("test: {error:#}");
    }
    Ok(Column::of(&kernel.release, false, taps.iter().flat_map(Tap::lines)))
}

fn on_host(program: &str, options: &Options, ready: &Ready) -> Result<Column> {
    let release = exec::capture(exec::command("uname").arg("-r"))?;
    say!("test: Linux {release}, this machine");
    let words = words(program, options, ready);
    let mut command = exec::as_root("env");
    command.args(&words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child =
        command.spawn().with_context(|| format!("failed to start `{}`", exec::shown(&command)))?;
    let taps = [(); 2].map(|()| Tap::new(HOST));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (Some(mut out), Some(mut err)) = (out, err) else { bail!("failed to read the tests' output") };
    std::thread::scope(|scope| {
        let [out_tap, err_tap] = &taps;
        scope.spawn(move || io::copy(&mut out, &mut out_tap.clone()));
        scope.spawn(move || io::copy(&mut err, &mut err_tap.clone()));
        exec::wait(child).map(drop)
    })?;
    Ok(Column::of(&release, true, taps.iter().flat_map(Tap::lines)))
}

/// Collects lines, and passes those that a user wants to see on.
#[derive(Clone)]
struct Tap {
    name: String,
    bytes: Arc<Mutex<Vec<u8>>>,
    shown: usize,
}

impl Tap {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bytes: Arc::default(), shown: 0 }
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

impl Write for Tap {
    fn write(&mut self, new: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(new);
        while let Some(n) = bytes[self.shown..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&bytes[self.shown..self.shown + n]);
            if !line.starts_with("count ") && !line.is_empty() {
                say!("{:>5} | {line}", self.name);
            }
            self.shown += n + 1;
        }
        Ok(new.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Column {
    fn of(release: &str, is_host: bool, lines: impl IntoIterator<Item = String>) -> Self {
        let mut column = Self { release: release.to_owned(), is_host, ..Self::default() };
        for line in lines {
            column.take(&line);
        }
        column
    }

    /// Reads one line of the tests' output; most say nothing of use here.
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["count", trial, what, n] => {
                if let Ok(n) = n.parse::<u64>() {
                    *self.counts.entry((trial.to_owned(), what.to_owned())).or_default() += n;
                }
            }
            ["hook", room, hook, ending] => {
                self.hooks.entry(room.to_owned()).or_default().insert(hook.to_owned(), ending.to_owned());
            }
            ["verified", program, n] => {
                self.verified.insert(program.to_owned(), n.parse().ok());
            }
            ["test", trial, .., "...", ending] => {
                let ending = match ending {
                    "ok" => Ending::Passed,
                    // Rights, programs, memory are all there: nothing else may be missing.
                    "ignored" if line.contains(KERNEL_LACKS) => Ending::Skipped,
                    _ => Ending::Failed,
                };
                self.trials.insert(trial.to_owned(), ending);
            }
            _ => {}
        }
    }
}

/// Counts that are not the same on two kernels where the same trial passed.
fn differences(columns: &[Column]) -> Vec<String> {
    let mut found = Vec::new();
    let passed = |column: &Column, trial: &str| column.trials.get(trial) == Some(&Ending::Passed);
    for (at, column) in columns.iter().enumerate() {
        for ((trial, what), n) in column.counts.iter().filter(|((trial, _), _)| passed(column, trial)) {
            for other in columns[at + 1..].iter().filter(|other| passed(other, trial)) {
                let theirs = other.counts.get(&(trial.clone(), what.clone()));
                if theirs != Some(n) {
                    let theirs = theirs.map_or("none".to_owned(), u64::to_string);
                    found.push(format!(
                        "{trial}, {what}: {n} on {}, {theirs} on {}",
                        column.release, other.release
                    ));
                }
            }
        }
    }
    found
}

/// A release's leading numbers, by which releases are in order.
pub(super) fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok()).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(release: &str, lines: &[&str]) -> Column {
        Column::of(release, false, lines.iter().map(|line| (*line).to_owned()))
    }

    #[test]
    fn reads_what_the_tests_say() {
        let column = column(
            "6.1",
            &[
                "count http::a GET_/x_requests 40",
                "count http::a GET_/x_requests 2",
                "hook socket tcp_probe works",
                "hook socket sk_data_ready missing",
                "verified fdio_exit 1234",
                "verified fdio_enter -",
                "test http::a              ... ok",
                "test http::b ... FAILED",
                "test http::c (skipped: the kernel lacks x) ... ignored",
                "test http::d (skipped: needs y) ... ignored",
                "running 3 tests",
            ],
        );
        assert_eq!(column.counts[&("http::a".to_owned(), "GET_/x_requests".to_owned())], 42);
        assert_eq!(column.hooks["socket"].values().collect::<Vec<_>>(), ["missing", "works"]);
        assert_eq!(column.verified["fdio_exit"], Some(1234));
        assert_eq!(column.verified["fdio_enter"], None);
        assert_eq!(
            column.trials.values().copied().collect::<Vec<_>>(),
            [Ending::Passed, Ending::Failed, Ending::Skipped, Ending::Failed]
        );
    }

    #[test]
    fn a_difference_is_told() {
        let lines = ["count a n 3", "test a ... ok"];
        let (one, same) = (column("5.10", &lines), column("6.1", &lines));
        assert_eq!(differences(&[one, same]), [] as [String; 0]);
        let other = column("6.12", &["count a n 4", "test a ... ok"]);
        assert_eq!(differences(&[column("5.10", &lines), other]), ["a, n: 3 on 5.10, 4 on 6.12"]);
        let missing = column("6.12", &["test a ... ok"]);
        assert_eq!(differences(&[column("5.10", &lines), missing]).len(), 1);
        let failed = column("6.12", &["count a n 4", "test a ... FAILED"]);
        assert_eq!(differences(&[column("5.10", &lines), failed]).len(), 0, "a failure is told as such");
    }

    #[test]
    fn releases_are_in_order() {
        assert!(numbers("5.10.0-32-amd64") < numbers("6.1.0-50-amd64"));
        assert!(numbers("6.1.0-50") < numbers("6.12.117+deb13"));
    }
}
