//! `cargo xtask test`: every test of the repository, and one closing line that adds them all up.

mod ladder;
mod summary;
mod table;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::say::say;
use crate::setup::{self, Goal, Ready};
use crate::{exec, paths};
use summary::{Failures, Summary};

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --filter TEXT    only tests whose name contains TEXT\n      \
     --kernels        the kernel tests on each kernel of the ladder (see vm), and on the host\n      \
     --on NAMES       only on these: 5.10, 6.1, 6.12, 7, host\n      \
     --net            with --kernels: the tests of network conditions instead\n      \
     --brief          only the trials that tell one kernel from another\n      \
     --write          write the table of the README, also after a part\n";

/// The kernel tests run the program itself, which must be up to date.
const BUILD: [&str; 5] = ["build", "--package", "probe", "--package", "probe-tests"];
/// Crates whose tests run as whoever we are. The one left over holds the tests that load programs into the kernel.
const PLAIN: [&str; 3] = ["probe-common", "probe", "xtask"];
const PIPELINE_TESTS: &str = "tests/targets/docpipeline/tests";
/// pytest's exit code when the filter left nothing.
const PYTEST_NOTHING_COLLECTED: i32 = 5;

/// Gives whether all passed. The closing line then stands last, alone, also where an error is to be reported.
pub(crate) fn run(args: &mut lexopt::Parser) -> Result<bool> {
    use lexopt::prelude::*;
    let mut options = ladder::Options::default();
    let mut on_kernels = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("filter") => options.filter = Some(args.value()?.string()?),
            Long("kernels") => on_kernels = true,
            Long("on") => options.on = args.value()?.string()?.split(',').map(str::to_owned).collect(),
            Long("brief") => options.is_brief = true,
            Long("net") => options.suite = ladder::NET,
            Long("write") => options.writes = true,
            _ => return Err(arg.unexpected().into()),
        }
    }
    exec::authenticate("to run the tests that load programs into the kernel")?;
    if on_kernels {
        return closing(ladder::run(&options)?, &Failures::default());
    }
    let filter = options.filter;
    let ready = setup::run(Goal::Tests, &BUILD)?;

    let mut groups = vec![
        ("unit tests", plain(filter.as_deref())),
        ("kernel and command line tests", privileged(&ready, filter.as_deref())?),
    ];
    if paths::root().join(PIPELINE_TESTS).is_dir() {
        groups.push(("sample pipeline", pipeline(&ready, filter.as_deref())));
    }
    let (mut total, mut failures) = (Summary::default(), Failures::default());
    for (name, mut command) in groups {
        let (summary, failed) = group(name, &mut command)?;
        total += summary;
        failures.join(failed);
    }
    closing(total, &failures)
}

fn closing(total: Summary, failures: &Failures) -> Result<bool> {
    if total.passed + total.failed == 0 {
        bail!("failed to find a test to run\nthe filter fits none");
    }
    writeln!(std::io::stdout().lock(), "{failures}{total}").context("failed to write to `stdout`")?;
    Ok(total.failed == 0)
}

fn plain(filter: Option<&str>) -> Command {
    let mut cargo = exec::cargo();
    cargo.args(["test", "--no-fail-fast"]);
    for package in PLAIN {
        cargo.args(["--package", package]);
    }
    cargo.args(filter);
    cargo
}

/// Built as the user, so that the target directory stays the user's, and run as root.
fn privileged(ready: &Ready, filter: Option<&str>) -> Result<Command> {
    let mut cargo = exec::cargo();
    cargo.args(["test", "--no-fail-fast", "--package", "probe-tests"]);
    let python = format!("PROBE_TEST_PYTHON={}", ready.python.display());
    if exec::is_root() {
        cargo.env("PROBE_TEST_PYTHON", &ready.python);
    } else {
        // sudo clears the environment and shortens the search path: say again what the tests look at.
        let path = format!("PATH={}", std::env::var("PATH").unwrap_or_default());
        let runner = serde_json::to_string(&["sudo", "-n", "--", "env", &path, &python])
            .context("failed to write cargo's runner option")?;
        cargo.args(["--config", &format!("target.'cfg(all())'.runner = {runner}")]);
    }
    cargo.args(filter);
    Ok(cargo)
}

fn pipeline(ready: &Ready, filter: Option<&str>) -> Command {
    let mut pytest = exec::command(&ready.python);
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", PIPELINE_TESTS]);
    if let Some(filter) = filter {
        pytest.args(["-k", filter]);
    }
    pytest
}

/// Runs one test program, passes its output on, adds up the result lines in it and keeps what it says of failures.
fn group(name: &str, command: &mut Command) -> Result<(Summary, Failures)> {
    say!("test: {name}: {}", exec::shown(command));
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start `{}`", exec::shown(command)))?;
    let stdout = child.stdout.take().context("failed to read a test's output")?;
    let reader = std::thread::spawn(move || {
        let (mut summary, mut failures) = (Summary::default(), Failures::default());
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        // Bytes, not text: a test may print anything.
        while let Ok(1..) = lines.read_until(b'\n', &mut line) {
            let _ = std::io::stdout().lock().write_all(&line);
            let text = String::from_utf8_lossy(&line);
            summary += Summary::of_line(text.trim_end());
            failures.take(text.trim_end());
            line.clear();
        }
        (summary, failures)
    });
    let status = exec::wait(child)?;
    let Ok((mut summary, failures)) = reader.join() else {
        bail!("failed to read the output of `{}`", exec::shown(command))
    };
    let is_empty = status.code() == Some(PYTEST_NOTHING_COLLECTED) && summary.passed + summary.failed == 0;
    if !status.success() && summary.failed == 0 && !is_empty {
        // It did not compile, or died: no result line tells of that.
        say!("test: {name} ended with {status}: counted as one failed test");
        summary.failed = 1;
    }
    Ok((summary, failures))
}
