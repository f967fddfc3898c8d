//! `probe run` on the running pipeline: its report and its progress pass through to the user.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::service::{Service, bound_to_us};
use crate::{exec, paths, stop};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Probe {
    service: Service,
    relays: Vec<JoinHandle<()>>,
}

pub(super) fn play(pid: u32, host: &str, run_dir: &Path, profile: &Path) -> Result<Probe> {
    let mut command = bound_to_us(exec::as_root("env"), &paths::built("probe")?);
    command
        .args(["run", "--pid", &pid.to_string(), "--host", host, "--profile"])
        .arg(profile)
        .args(["--record", "--out"])
        .arg(run_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut service = Service::start("probe", &mut command, Signal::SIGINT)?;
    let attached = Arc::new(AtomicBool::new(false));
    let stdout = service.child().stdout.take().context("failed to read the probe's report")?;
    let stderr = service.child().stderr.take().context("failed to read the probe's log")?;
    let seen = Arc::clone(&attached);
    let relays = vec![
        thread::spawn(move || relay(stdout, std::io::stdout(), |_| ())),
        thread::spawn(move || {
            relay(stderr, std::io::stderr(), |line| {
                if line.contains("attached to pid") {
                    seen.store(true, Ordering::Relaxed);
                }
            });
        }),
    ];
    let mut probe = Probe { service, relays };
    let result = probe.service.wait_until(PATIENCE, || attached.load(Ordering::Relaxed));
    if result.is_err() {
        probe.drain();
    }
    result.context("failed to attach the probe\nwhat this machine lacks says: target/debug/probe doctor")?;
    Ok(probe)
}

impl Probe {
    /// Waits for its end, or asks for it on Ctrl-C, and gives the exit code of the verdict.
    pub(super) fn finish(&mut self, longest: Duration) -> Result<i32> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.service.ended()? {
                break status;
            }
            if stop::requested() || began.elapsed() > longest {
                break self.service.end(PATIENCE)?;
            }
            thread::sleep(exec::POLL);
        };
        self.drain();
        match status.code() {
            Some(code @ (0 | 3 | 4)) => Ok(code),
            _ => bail!("failed to get a report: probe ended with {status}"),
        }
    }

    /// Lets its last words through.
    fn drain(&mut self) {
        if matches!(self.service.ended(), Ok(Some(_))) {
            for relay in self.relays.drain(..) {
                let _ = relay.join();
            }
        }
    }
}

/// The verdict behind an exit code.
pub(super) fn meaning(code: i32) -> &'static str {
    match code {
        0 => "every objective passed, or only warned",
        3 => "an objective failed",
        _ => "inconclusive",
    }
}

/// Passes bytes on as they come, progress lines that return to the line's start included, and shows each line to
/// `look`.
fn relay(mut from: impl Read, mut to: impl Write, mut look: impl FnMut(&str)) {
    let mut buffer = [0; 8192];
    let mut line = Vec::new();
    while let Ok(n_read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..n_read];
        // Nobody reads any more: the probe must not notice, or it would end without a report.
        let _ = to.write_all(bytes).and_then(|()| to.flush());
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                look(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_passes_everything_and_sees_lines() {
        let mut out = Vec::new();
        let mut lines = Vec::new();
        relay(&b"one\ntwo\rattached to pid 7\nrest"[..], &mut out, |line| lines.push(line.to_owned()));
        assert_eq!(out, b"one\ntwo\rattached to pid 7\nrest");
        assert_eq!(lines, ["one", "two", "attached to pid 7"]);
    }
}
