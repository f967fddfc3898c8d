//! The load: Locust without its web page, until its time is over.

use std::fs::File;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::Options;
use super::pipeline::Pipeline;
use super::probe::Probe;
use super::scratch::Scratch;
use super::service::{Service, bound_to_us};
use crate::say::say;
use crate::setup::Ready;
use crate::{exec, stop};

/// Users that are in the middle of a request when the time is over may finish it.
const STOP_SECONDS: u32 = 20;
/// What Locust may need beside the load itself: imports, start, end.
const SPARE: Duration = Duration::from_mins(1);
/// Locust's exit code when some responses failed their checks.
const SOME_FAILED: i32 = 1;

/// Runs the load to its end, or to the user's Ctrl-C, and gives the file with its counts.
pub(super) fn run(
    ready: &Ready,
    scratch: &Scratch,
    options: &Options,
    pipeline: &Pipeline,
    probe: &mut Probe,
) -> Result<PathBuf> {
    let counts = scratch.file("locust-counts.json");
    let log_path = scratch.file("locust.log");
    let log =
        File::create(&log_path).with_context(|| format!("failed to create `{}`", log_path.display()))?;
    let err = log.try_clone().context("failed to share a log")?;
    let mut command = bound_to_us(exec::command("env"), &ready.python);
    command
        .args(["-m", "locust", "-f", "tests/load/locustfile.py", "--headless", "--only-summary"])
        .args(["--host", &pipeline.url(), "--users", &options.users.to_string()])
        .args([
            "--spawn-rate",
            &options.spawn_rate.to_string(),
            "--run-time",
            &format!("{}s", options.seconds),
        ])
        .args(["--stop-timeout", &STOP_SECONDS.to_string()])
        // Brisker than people are, so that the few seconds hold enough requests to judge percentiles by.
        .envs([
            ("LOAD_THINK_MIN", "0.1"),
            ("LOAD_THINK_MAX", "0.8"),
            ("LOAD_UPLOAD_MIN", "0.5"),
            ("LOAD_UPLOAD_MAX", "1.5"),
        ])
        .env("DOC_CORPUS", &ready.corpus)
        .env("LOCUST_COUNTS", &counts)
        .env("TMPDIR", scratch.path())
        .stdout(log)
        .stderr(err);
    let mut locust = Service::start("locust", &mut command, Signal::SIGINT)?;
    let limit = Duration::from_secs((options.seconds + STOP_SECONDS).into()) + SPARE;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = locust.ended()? {
            break status;
        }
        if stop::requested() {
            say!("demo: stopping early");
            break locust.end(SPARE)?;
        }
        if probe.has_ended()? {
            bail!("failed to watch the load to its end: probe ended before it");
        }
        if began.elapsed() > limit {
            bail!("failed to finish the load within {} s\n{}", limit.as_secs(), exec::tail(&log_path, 20));
        }
        sleep(exec::POLL);
    };
    if !counts.exists() {
        stop::check()?;
        bail!("failed to run the load: locust ended with {status}\n{}", exec::tail(&log_path, 20));
    }
    if status.code() == Some(SOME_FAILED) {
        say!("demo: some responses failed the load's own checks:\n{}", exec::tail(&log_path, 12));
    }
    Ok(counts)
}
