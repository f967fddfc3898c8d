//! Runs the program itself, as a user does, and reads what it left.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::{counts, host, report::Report, say::say, server::pid_of, wait};

/// Where the program is: beside the tests (one folder up) or the bench that cargo built, in the same profile.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find our own program")?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("probe")).find(|binary| binary.is_file());
    found.with_context(|| {
        format!(
            "`probe` is missing near `{}`: run `cargo build -p probe`, or `cargo xtask test`",
            own.display()
        )
    })
}

/// The program in a folder that another user can reach.
///
/// `cp` writes it: a child that another thread starts while we write would hold our file open, and who runs a file that
/// somebody writes gets `ETXTBSY`.
pub fn copy_of_binary(folder: &Path) -> Result<PathBuf> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    let copy = folder.join("probe");
    if !copy.exists() {
        let status = Command::new("cp").arg(binary()?).arg(&copy).status().context("failed to start `cp`")?;
        ensure!(status.success(), "failed to copy the program to `{}`: {status}", copy.display());
    }
    Ok(copy)
}

/// A profile without anything to judge: the exit code says only whether the run itself went well.
pub const NOTHING: &str = "name = \"test\"\n";

/// A run of `probe attach` or `probe run`.
#[derive(Debug)]
pub struct Probe {
    child: Child,
    folder: tempfile::TempDir,
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its report.
    pub report: Report,
    /// The report for people.
    pub stdout: String,
    /// Its log.
    pub stderr: String,
    folder: tempfile::TempDir,
}

impl Outcome {
    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

impl Probe {
    /// Attaches to a process and waits until everything is in place.
    pub fn attach(pid: u32, more: &[&str]) -> Result<Self> {
        Self::attach_in(pid, NOTHING, more, &[])
    }

    /// As [`Self::attach`], with a profile's text and more in its environment.
    pub fn attach_in(pid: u32, profile: &str, more: &[&str], environment: &[(&str, &Path)]) -> Result<Self> {
        Self::begin("attach", pid, profile, more, environment)?.attached(pid)
    }

    /// The same with a profile's text.
    pub fn attach_with(pid: u32, profile: &str, more: &[&str]) -> Result<Self> {
        Self::attach_in(pid, profile, more, &[])
    }

    /// Plays the phases of a profile, and waits until everything is in place.
    pub fn play(pid: u32, profile: &str, more: &[&str]) -> Result<Self> {
        Self::begin("run", pid, profile, more, &[])?.attached(pid)
    }

    fn attached(self, pid: u32) -> Result<Self> {
        let mut probe = self;
        let place = format!("attached to pid {pid}");
        let attached = wait::until("the probe's attach", wait::SOON, || {
            if probe.stderr()?.lines().any(|line| line.starts_with(&place)) {
                return Ok(Some(()));
            }
            match probe.child.try_wait()? {
                None => Ok(None),
                Some(status) => bail!("probe ended ({status})"),
            }
        });
        attached.with_context(|| format!("probe said:\n{}", probe.stderr().unwrap_or_default()))?;
        Ok(probe)
    }

    /// Starts it and waits for nothing.
    fn begin(
        command: &str,
        pid: u32,
        text: &str,
        more: &[&str],
        environment: &[(&str, &Path)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for a run")?;
        let profile = folder.path().join("profile.toml");
        fs::write(&profile, text).context("failed to write a profile")?;
        let child = Command::new(binary()?)
            .args([command, "--pid", &pid.to_string(), "--inconclusive", "pass"])
            .arg("--profile")
            .arg(profile)
            .arg("--out")
            .arg(folder.path().join("run"))
            .args(more)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("stdout"))?)
            .stderr(File::create(folder.path().join("stderr"))?)
            .spawn()
            .context("failed to start probe")?;
        Ok(Self { child, folder })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Its log so far.
    pub fn stderr(&self) -> Result<String> {
        fs::read_to_string(self.folder.path().join("stderr")).context("failed to read the probe's log")
    }

    /// The kernel programs that it holds now; there must be some.
    pub fn programs(&self) -> Result<BTreeSet<u32>> {
        let ids = host::programs_of(self.pid())?;
        ensure!(!ids.is_empty(), "an attached probe that holds no kernel program");
        Ok(ids)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(pid_of(self.pid())?, signal).context("failed to signal probe")
    }

    /// Interrupts it, as Ctrl-C does, and reads the report; it must end well.
    pub fn finish(self) -> Result<Outcome> {
        self.signal(Signal::SIGINT)?;
        let outcome = self.outcome(wait::SOON)?;
        ensure!(
            outcome.status.success(),
            "probe ended with {} after SIGINT; it said:\n{}",
            outcome.status,
            outcome.stderr
        );
        Ok(outcome)
    }

    /// Waits for its end, whatever ends it.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait::until("the end of probe", limit, || Ok(self.child.try_wait()?))
            .with_context(|| format!("probe said:\n{}", self.stderr().unwrap_or_default()))
    }

    /// Waits for its end and reads the report.
    pub fn outcome(mut self, limit: Duration) -> Result<Outcome> {
        let status = self.wait_for_end(limit)?;
        let stderr = self.stderr()?;
        let stdout = fs::read_to_string(self.folder.path().join("stdout"))?;
        let path = self.folder.path().join("run/report.json");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("probe ended ({status}) without `report.json`; it said:\n{stderr}"))?;
        let report = Report(serde_json::from_str(&text).context("failed to parse `report.json`")?);
        let lost = report.n_recursions()?;
        if lost > 0 {
            say(&format!("    lost: {}", report.at::<Value>("/health/lost_by_cause")?));
        }
        counts::lost(lost);
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let folder = std::mem::replace(&mut self.folder, folder);
        Ok(Outcome { status, report, stdout, stderr, folder })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It has ended already, or the test failed and nobody waits for its report.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
