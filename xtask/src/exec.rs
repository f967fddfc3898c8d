//! Runs other programs. Every command of every module goes through here, so that a failure always shows the command
//! that failed, and Ctrl-C always reaches what runs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid};

use crate::stop;

/// How often a wait looks at the child and at the stop flag: too short to notice, too long to cost anything.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// How long a process that was asked to end may take before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// Lines of a failed command's log that the error repeats.
const LOG_TAIL_LINES: usize = 40;

/// A command that runs in the repository's root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(crate::paths::root());
    command
}

/// The cargo that runs us, or the one in PATH.
pub(crate) fn cargo() -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` told us about the xtask package would be wrong in every build started from here, and differs
    // from what a cargo call by hand sees: dependencies that watch a variable of it would be built again.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command whose output the user sees.
pub(crate) fn exec(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("failed to run `{}`: {status}", shown(command));
    }
    Ok(())
}

/// Like [`exec`] for a command whose failure is an answer.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    let child = command.process_group(0).spawn().with_context(|| failed_to_start(command))?;
    wait(child).with_context(|| format!("failed to finish `{}`", shown(command)))
}

/// What a command prints on stdout; its stderr is shown only if it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| failed_to_start(command))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("failed to run `{}`: {}\n{}", shown(command), output.status, stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Whether a command can be run and succeeds; for checks.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a long command whose output goes to a file; the end of that file is part of the error.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let out = File::create(log).with_context(|| format!("failed to create `{}`", log.display()))?;
    let err = out.try_clone().with_context(|| format!("failed to share `{}`", log.display()))?;
    let status = status(command.stdin(Stdio::null()).stdout(out).stderr(err))?;
    if !status.success() {
        bail!("failed to run `{}`: {status}\n{}", shown(command), tail(log, LOG_TAIL_LINES));
    }
    Ok(())
}

/// Waits for a child that leads its own process group; ends the group when the user asks to stop.
pub(crate) fn wait(mut child: Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().context("failed to wait for a child")? {
            return Ok(status);
        }
        if stop::requested() {
            end_group(&mut child, Signal::SIGINT);
            bail!("stopped");
        }
        sleep(POLL);
    }
}

/// Asks a child's process group to end, and kills what is left of it after [`GRACE`].
pub(crate) fn end_group(child: &mut Child, signal: Signal) -> Option<ExitStatus> {
    let group = Pid::from_raw(child.id().cast_signed());
    // An error here means that the group is gone already, which is the goal.
    let _ = killpg(group, signal);
    let asked = Instant::now();
    let mut status = None;
    while status.is_none() && asked.elapsed() < GRACE {
        status = child.try_wait().ok().flatten();
        sleep(POLL);
    }
    let _ = killpg(group, Signal::SIGKILL);
    status.or_else(|| child.wait().ok())
}

/// Sends a signal to a process of ours, or to one of root's that we started with sudo.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let target = Pid::from_raw(pid.cast_signed());
    match kill(target, signal) {
        Err(nix::Error::EPERM) => {
            exec(command("sudo").args(["-n", "kill", "-s", &signal.as_str()[3..], &pid.to_string()]))
        }
        other => other.with_context(|| format!("failed to send `{signal}` to process `{pid}`")),
    }
}

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A command that runs as root: itself if we are root, else through sudo.
pub(crate) fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    sudo.args(["-n", "--"]).arg(program);
    sudo
}

/// Asks for the sudo password now, in the foreground, because later commands run without a terminal.
pub(crate) fn authenticate(purpose: &str) -> Result<()> {
    if is_root() || succeeds(command("sudo").args(["-n", "true"])) {
        return Ok(());
    }
    let mut sudo = command("sudo");
    sudo.args(["-v", "-p"]).arg(format!("[sudo] password, {purpose}: "));
    let ok = sudo.status().is_ok_and(|status| status.success());
    if !ok {
        bail!("failed to become root, {purpose}\nrun it as root, or install sudo and allow it for this user");
    }
    Ok(())
}

/// The last lines of a file, for an error or a progress line.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(text, "{}={} ", name.to_string_lossy(), quoted(&value.to_string_lossy()));
        }
    }
    text.push_str(&quoted(&command.get_program().to_string_lossy()));
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&quoted(&arg.to_string_lossy()));
    }
    text
}

fn failed_to_start(command: &Command) -> String {
    format!("failed to start `{}`", shown(command))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_output() {
        let log = std::env::temp_dir().join(format!("xtask-exec-{}", std::process::id()));
        let error =
            logged(command("sh").args(["-c", "echo reason; exit 3"]).env("A", "b c"), &log).unwrap_err();
        let _ = fs::remove_file(&log);
        let text = format!("{error:#}");
        assert!(text.contains("A='b c' sh -c 'echo reason; exit 3'"), "{text}");
        assert!(text.contains("exit status: 3") && text.ends_with("reason"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = exec(&mut command("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("`no-such-program-here`"), "{error}");
    }
}
