//! A process in the background that never outlives the demo: ended when its value is dropped, and by the kernel if
//! this program is killed.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::{exec, paths, stop};

pub(super) struct Service {
    name: &'static str,
    child: Child,
    /// How it is asked to end.
    signal: Signal,
    status: Option<ExitStatus>,
}

impl Service {
    /// Starts a command in a process group of its own, so that a Ctrl-C in the terminal reaches it through us, in
    /// order, and so that its children end with it.
    pub(super) fn start(name: &'static str, command: &mut Command, signal: Signal) -> Result<Self> {
        command.process_group(0).stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("failed to start `{}`", exec::shown(command)))?;
        Ok(Self { name, child, signal, status: None })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status =
                self.child.try_wait().with_context(|| format!("failed to wait for `{}`", self.name))?;
        }
        Ok(self.status)
    }

    /// Waits until `is_there`, with an error if the process ends before, or the user asks to stop.
    pub(super) fn wait_until(
        &mut self,
        patience: Duration,
        mut is_there: impl FnMut() -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        while !is_there() {
            stop::check()?;
            if let Some(status) = self.ended()? {
                bail!("`{}` ended before it was ready: {status}", self.name);
            }
            if began.elapsed() > patience {
                bail!("`{}` was not ready after {} s", self.name, patience.as_secs());
            }
            sleep(exec::POLL);
        }
        Ok(())
    }

    /// Asks it to end and waits; it is killed when it takes too long, which is an error.
    pub(super) fn end(&mut self, patience: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            exec::signal(self.child.id(), self.signal)?;
        }
        let asked = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if asked.elapsed() > patience {
                bail!("`{}` did not end within {} s of {}", self.name, patience.as_secs(), self.signal);
            }
            sleep(exec::POLL);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            // One that sudo started is root's: its group can't be signalled from here, but sudo passes this on.
            let _ = exec::signal(self.child.id(), self.signal);
            let _ = exec::end_group(&mut self.child, self.signal);
        }
    }
}

/// A command that the kernel ends when this program dies, whatever kills it.
pub(super) fn bound_to_us(base: Command, program: &std::path::Path) -> Command {
    let mut command = base;
    if let Some(setpriv) = paths::find_program("setpriv") {
        command.arg(setpriv).args(["--pdeathsig", "TERM", "--"]);
    }
    command.arg(program);
    command
}
