//! Targets that are not there, or that cannot be watched.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};

use crate::{
    Suite,
    bench::{Target, probe, refused},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add_root("target::no_such_pid", no_such_pid);
    suite.add_root("target::a_process_that_has_exited", a_process_that_has_exited);
    suite.add_root("target::a_kernel_thread", a_kernel_thread);
    suite.add_root("target::a_thread_id", a_thread_id);
    suite.add_root("target::a_port_nobody_listens_on", a_port_nobody_listens_on);
    suite.add_root("target::no_such_control_group", no_such_control_group);
    suite.add_root("target::directories_that_cannot_be_written", directories_that_cannot_be_written);
}

/// Attaches to a pid, which must be refused, and leaves no run directory.
fn refused_pid(pid: u32, words: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for out in [None, Some("named")] {
        let mut command = probe(&["attach", "--pid", &pid.to_string()])?;
        command.current_dir(&folder).args(out.iter().flat_map(|out| ["--out", out]));
        refused(&mut command, 1, words)?;
        ensure!(fs::read_dir(&folder)?.next().is_none(), "a refused run left a directory");
    }
    Ok(())
}

fn no_such_pid() -> Result<()> {
    // One beyond the largest that Linux gives (PID_MAX_LIMIT).
    refused_pid(4_194_305, &["no process has the id 4194305", "--port"])
}

/// First as a zombie, then collected.
fn a_process_that_has_exited() -> Result<()> {
    let mut child = Command::new("true").stdin(Stdio::null()).spawn()?;
    let id = Id::Pid(Pid::from_raw(child.id().cast_signed()));
    waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    refused_pid(child.id(), &["has already exited"])?;
    child.wait()?;
    refused_pid(child.id(), &["no process has the id"])
}

fn a_kernel_thread() -> Result<()> {
    let comm = fs::read_to_string("/proc/2/comm").unwrap_or_default();
    ensure!(comm == "kthreadd\n", "this trial needs the first pid namespace");
    refused_pid(2, &["process 2 (kthreadd) is a kernel thread"])
}

/// A thread's id is not a process: the answer names the process.
fn a_thread_id() -> Result<()> {
    let mut target = Target::start()?;
    let pid = target.pid();
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let tid = threads
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|&tid| tid != pid)
        .context("the target has only one thread")?;
    let (is, remedy) = (format!("{tid} is a thread of process {pid}"), format!("use `--pid {pid}`"));
    refused_pid(tid, &[&is, &remedy])?;
    target.check()
}

/// The answer names ports that are listened on.
fn a_port_nobody_listens_on() -> Result<()> {
    let mut target = Target::start()?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let sentence = format!("no process listens on port {port}");
    let mut command = probe(&["attach", "--port", &port.to_string()])?;
    refused(&mut command, 1, &[&sentence, "listened on: "])?;
    target.check()
}

fn no_such_control_group() -> Result<()> {
    let mut command = probe(&["attach", "--cgroup", "no/such.service"])?;
    refused(&mut command, 1, &["no control group `no/such.service`", "/proc/PID/cgroup"])?;
    Ok(())
}

/// Not even by root; said before the run.
fn directories_that_cannot_be_written() -> Result<()> {
    let mut target = Target::start()?;
    let pid = target.pid().to_string();
    for directory in ["/proc/run", "/sys/kernel/run/1"] {
        let sentence = format!("failed to write to output directory `{directory}`");
        refused(&mut probe(&["attach", "--pid", &pid, "--out", directory])?, 2, &[&sentence, "--out"])?;
    }
    target.check()
}
