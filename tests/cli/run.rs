//! How a run ends: by signals, with its target, on a full disk.

use std::{
    fs,
    io::{PipeReader, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{Signal, kill},
};
use probe_tests::{
    host,
    probe::{Probe, binary},
    server::pid_of,
    wait,
};

use crate::{
    Suite,
    bench::{Kernel, Target, end_of, loaded, probe},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add_root("run::a_signal_ends_it_with_a_report", a_signal_ends_it_with_a_report);
    suite.add_root("run::a_second_signal_ends_it_at_once", a_second_signal_ends_it_at_once);
    suite.add_root("run::a_kill_leaves_nothing", a_kill_leaves_nothing);
    suite.add_root("run::the_target_exits", the_target_exits);
    suite.add_root("run::a_port_and_a_named_directory", a_port_and_a_named_directory);
    suite.add_root("run::the_verdict_decides_the_code", the_verdict_decides_the_code);
    suite.add_root("run::a_full_disk_costs_no_report", a_full_disk_costs_no_report);
    suite.add_root("run::nobody_reads_the_report", nobody_reads_the_report);
}

/// Ctrl-C and its kin: a report, a run directory, nothing attached, a target that goes on.
fn a_signal_ends_it_with_a_report() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut target = Target::start()?;
        let probe = Probe::attach(target.pid(), &[])?;
        let programs = probe.programs()?;
        target.check()?;
        probe.signal(signal)?;
        let outcome = probe.outcome(wait::SOON)?;
        ensure!(outcome.status.success(), "{signal}: {}\n{}", outcome.status, outcome.stderr);
        ensure!(!outcome.stdout.is_empty(), "{signal}");
        for name in ["report.json", "report.txt", "profile.toml"] {
            ensure!(outcome.run_dir().join(name).exists(), "{signal}: no `{name}`");
        }
        ensure!(fs::read_to_string(outcome.run_dir().join("report.txt"))? == outcome.stdout);
        wait::until("the end of its programs", wait::SOON, || {
            Ok(loaded()?.is_disjoint(&programs).then_some(()))
        })?;
        target.check()?;
    }
    Ok(())
}

/// The first signal ends the run; the report then waits for a reader that never reads; the second signal
/// ends the process there and then.
fn a_second_signal_ends_it_at_once() -> Result<()> {
    let mut target = Target::start()?;
    let before = Kernel::look()?;
    let folder = tempfile::tempdir()?;
    let (_reader, stdout) = full_pipe()?;
    let mut child = attached(&target, folder.path(), stdout.into(), &[])?;
    interrupt(&child)?;
    wait::until("the run's last file", wait::SOON, || {
        Ok(folder.path().join("run/report.txt").exists().then_some(()))
    })?;
    ensure!(child.try_wait()?.is_none(), "it wrote a report that nobody read");
    interrupt(&child)?;
    let status = wait::until("the end of probe", wait::SOON, || Ok(child.try_wait()?))?;
    ensure!(status.code() == Some(130), "{status}");
    before.nothing_left()?;
    target.check()
}

/// SIGKILL cannot be handled; the kernel cleans up.
fn a_kill_leaves_nothing() -> Result<()> {
    let mut target = Target::start()?;
    let before = Kernel::look()?;
    let folder = tempfile::tempdir()?;
    let mut child = attached(&target, folder.path(), Stdio::null(), &[])?;
    let programs = host::programs_of(child.id())?;
    ensure!(!programs.is_empty() && programs.is_subset(&loaded()?), "nothing was attached: {programs:?}");
    child.kill()?;
    child.wait()?;
    before.nothing_left()?;
    ensure!(programs.is_disjoint(&loaded()?), "left: {programs:?}");
    target.check()
}

/// A target that exits ends the run, with what was seen.
fn the_target_exits() -> Result<()> {
    let mut target = Target::start()?;
    let before = Kernel::look()?;
    let probe = Probe::attach(target.pid(), &[])?;
    target.check()?;
    target.end()?;
    let outcome = probe.outcome(wait::SOON)?;
    ensure!(outcome.status.success(), "{}\n{}", outcome.status, outcome.stderr);
    ensure!(outcome.report.0["overall"]["requests"] == 1, "{}", outcome.stdout);
    before.nothing_left()
}

/// `--port` finds the process, `--duration` ends the run, `--out` gets the results, parents made.
fn a_port_and_a_named_directory() -> Result<()> {
    let mut target = Target::start()?;
    let folder = tempfile::tempdir()?;
    let mut command = probe(&["attach", "--port", &target.port.to_string(), "--out", "a/b/run"])?;
    command.args(["--duration", "100ms", "--inconclusive", "pass"]).current_dir(&folder);
    let answer = end_of(&mut command)?;
    ensure!(answer.code == Some(0), "{answer:?}");
    ensure!(answer.stderr.contains(&format!("attached to pid {}", target.pid())), "{answer:?}");
    ensure!(folder.path().join("a/b/run/report.json").exists());
    // The default is a directory of its own for each run.
    let mut command = probe(&["attach", "--pid", &target.pid().to_string()])?;
    command.args(["--duration", "100ms", "--inconclusive", "pass"]).current_dir(&folder);
    for _run in 0..2 {
        ensure!(end_of(&mut command)?.code == Some(0));
    }
    ensure!(fs::read_dir(folder.path().join("runs"))?.count() == 2);
    target.check()
}

/// Nothing to judge is 4, which `--inconclusive` maps; a failed objective is 3.
fn the_verdict_decides_the_code() -> Result<()> {
    let mut target = Target::start()?;
    let folder = tempfile::tempdir()?;
    for (n, (arguments, code)) in
        [(&[][..], 4), (&["--inconclusive", "fail"], 3), (&["--inconclusive", "warn"], 0)]
            .into_iter()
            .enumerate()
    {
        let mut command = probe(&["attach", "--pid", &target.pid().to_string(), "--duration", "100ms"])?;
        command.args(["--out", &n.to_string()]).args(arguments).current_dir(&folder);
        let answer = end_of(&mut command)?;
        ensure!(answer.code == Some(code) && !answer.stdout.is_empty(), "{arguments:?}: {answer:?}");
    }
    let profile = folder.path().join("strict.toml");
    let objective = "name = \"strict\"\n[[objective]]\nid = \"many\"\nmetric = \"rate\"\n";
    fs::write(&profile, format!("{objective}target = 1000000000\nlimit = 1000000000\n"))?;
    let profile = profile.to_str().context("a temporary folder that is not UTF-8")?;
    let mut child = attached(&target, folder.path(), Stdio::null(), &["--profile", profile])?;
    target.check()?;
    interrupt(&child)?;
    let status = wait::until("the end of probe", wait::SOON, || Ok(child.try_wait()?))?;
    ensure!(
        status.code() == Some(3),
        "{status}\n{}",
        fs::read_to_string(folder.path().join("run/report.txt"))?
    );
    target.check()
}

/// The disk fills up during the run: the report still comes on stdout, with its verdict.
fn a_full_disk_costs_no_report() -> Result<()> {
    // A mount of the child's own: there is an inode for the check before the run, but no block for a file.
    const SCRIPT: &str = "mount -t tmpfs -o size=64k,nr_inodes=50 none \"$1\" || exit 99
        dd if=/dev/zero of=\"$1/filler\" bs=4k 2>/dev/null; shift; exec \"$@\"";
    let mut target = Target::start()?;
    let disk = tempfile::tempdir()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(disk.path()).arg(binary()?);
    command.args([
        "attach",
        "--pid",
        &target.pid().to_string(),
        "--duration",
        "100ms",
        "--inconclusive",
        "pass",
    ]);
    command.arg("--out").arg(disk.path().join("run"));
    let answer = end_of(&mut command)?;
    ensure!(answer.code == Some(0) && !answer.stdout.is_empty(), "{answer:?}");
    ensure!(
        answer.stderr.contains("failed to save") && answer.stderr.contains("No space left"),
        "{answer:?}"
    );
    target.check()
}

/// `probe attach … | head -0` ends with the verdict's code.
fn nobody_reads_the_report() -> Result<()> {
    let mut target = Target::start()?;
    let folder = tempfile::tempdir()?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut child = attached(&target, folder.path(), writer.into(), &[])?;
    interrupt(&child)?;
    let status = wait::until("the end of probe", wait::SOON, || Ok(child.try_wait()?))?;
    ensure!(status.success(), "{status}");
    target.check()
}

/// The command, once it has attached; its run directory is `run` in the folder.
fn attached(target: &Target, folder: &Path, stdout: Stdio, more: &[&str]) -> Result<Child> {
    let log = folder.join("log");
    let mut child =
        probe(&["attach", "--pid", &target.pid().to_string(), "--inconclusive", "pass", "--out", "run"])?
            .args(more)
            .current_dir(folder)
            .stdout(stdout)
            .stderr(fs::File::create(&log)?)
            .spawn()?;
    wait::until("the attach", wait::SOON, || {
        if let Some(status) = child.try_wait()? {
            bail!("probe ended with {status}:\n{}", fs::read_to_string(&log)?);
        }
        Ok(fs::read_to_string(&log)?.contains("attached to pid").then_some(()))
    })?;
    Ok(child)
}

fn interrupt(child: &Child) -> Result<()> {
    kill(pid_of(child.id())?, Signal::SIGINT).context("failed to interrupt probe")
}

/// A pipe that takes nothing more, and whose writers wait.
fn full_pipe() -> Result<(PipeReader, OwnedFd)> {
    let (reader, mut writer) = std::io::pipe()?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // Full is when even a single byte would have to wait.
    for chunk in [&[b'x'; 4096][..], b"x"] {
        while writer.write(chunk).is_ok() {}
    }
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((reader, writer.into()))
}
