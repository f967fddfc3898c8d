//! The target: from `--pid`, `--port` or `--cgroup` to root processes, and what can be known of them
//! from `/proc` without touching them.

mod alive;
mod cgroup;
pub mod diag;
pub mod elf;
pub mod facts;
pub mod maps;
pub mod mounts;
mod port;
pub mod procfs;
mod tcp;
pub mod unix;

pub use alive::Alive;
pub use procfs::status_field;
pub use tcp::{Listener, listeners};

use crate::cli::{Refusal, TargetArgs};

/// A process that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its id.
    pub pid: u32,
    /// When it started, clock ticks since boot: tells it from a later process with the same id.
    pub start_ticks: u64,
}

impl Root {
    /// The process still runs and is the one that was asked for.
    pub fn is_running(&self) -> bool {
        procfs::stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }
}

/// Finds the root processes of a target; at least one, ascending.
///
/// # Errors
/// A [`Refusal`] where there is none, or none that can be watched.
pub fn resolve(target: &TargetArgs) -> Result<Vec<Root>, Refusal> {
    if let Some(pid) = target.pid {
        return Ok(vec![check(pid)?]);
    }
    let pids = match (target.port, &target.cgroup) {
        (Some(port), _) => port::holders(port)?,
        (None, Some(path)) => cgroup::roots(path)?,
        (None, None) => {
            return Err(Refusal::usage("no target was named", "name one with --pid, --port or --cgroup"));
        }
    };
    // Some may have ended since they were found, which is only wrong when all did.
    let checked: Vec<_> = pids.into_iter().map(check).collect();
    let (running, refused): (Vec<_>, Vec<_>) = checked.into_iter().partition(Result::is_ok);
    match refused.into_iter().next() {
        Some(Err(refusal)) if running.is_empty() => Err(refusal),
        _ => Ok(running.into_iter().flatten().collect()),
    }
}

/// Checks that a process can be watched at all.
fn check(pid: u32) -> Result<Root, Refusal> {
    let gone = || {
        Refusal::unable(
            format!("no process has the id {pid}"),
            "look it up with `pgrep -af uvicorn`, or name the port with `--port`",
        )
    };
    let stat = procfs::stat(pid).map_err(|_| gone())?;
    let status = procfs::status(pid).map_err(|_| gone())?;
    if let Some(tgid) = status_field(&status, "Tgid").filter(|&tgid| tgid != pid.to_string()) {
        return Err(Refusal::unable(
            format!("{pid} is a thread of process {tgid}, not a process"),
            format!("use `--pid {tgid}`: all its threads are watched"),
        ));
    }
    if stat.is_kernel_thread() {
        return Err(Refusal::unable(
            format!("process {pid} ({}) is a kernel thread and serves no requests", stat.comm),
            "name the server's process, or its port with `--port`",
        ));
    }
    if stat.is_dead() {
        return Err(Refusal::unable(
            format!(
                "process {pid} ({}) has already exited (a zombie that its parent has not collected)",
                stat.comm
            ),
            "start the server again, or name its port with `--port`",
        ));
    }
    if pid == std::process::id() {
        return Err(Refusal::unable(format!("process {pid} is probe itself"), "name the server's process"));
    }
    Ok(Root { pid, start_ticks: stat.start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn told(pid: u32) -> String {
        check(pid).unwrap_err().to_string()
    }

    #[test]
    fn refuses_what_cannot_be_watched() {
        assert!(told(std::process::id()).contains("probe itself"));
        assert!(told(4_194_304 + 1).contains("no process"));
        // Absent in a pid namespace of one's own.
        if procfs::stat(2).is_ok_and(|stat| stat.is_kernel_thread()) {
            assert!(told(2).contains("kernel thread"));
        }
    }

    #[test]
    fn a_thread_is_told_its_process() {
        std::thread::scope(|scope| {
            let (done, wait) = std::sync::mpsc::channel::<()>();
            let (tid_to, tid_from) = std::sync::mpsc::channel();
            scope.spawn(move || {
                tid_to.send(nix::unistd::gettid()).unwrap();
                let _ = wait.recv();
            });
            let tid = u32::try_from(tid_from.recv().unwrap().as_raw()).unwrap();
            let text = told(tid);
            drop(done);
            assert!(text.contains(&format!("thread of process {}", std::process::id())), "{text}");
        });
    }

    #[test]
    fn zombies_and_the_collected() {
        let mut child = Command::new("sh").args(["-c", "read _"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let root = check(pid).unwrap();
        assert!(root.is_running());
        drop(child.stdin.take());
        let id = nix::sys::wait::Id::Pid(nix::unistd::Pid::from_raw(pid.cast_signed()));
        let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(id, flags).unwrap();
        assert!(told(pid).contains("already exited"));
        assert!(!root.is_running());
        child.wait().unwrap();
        assert!(told(pid).contains("no process"));
    }
}
