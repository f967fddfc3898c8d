//! What a set-up shows while it works: each step with its time, and a line now and then for those that take long.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::say::say;
use crate::{exec, paths};

/// A long step says so this often.
const REMINDER: Duration = Duration::from_secs(10);
const LINE_CHARS: usize = 60;

/// The steps that run now, and how much has been done.
pub(crate) struct Board {
    began: Instant,
    logs: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Vec<Running>,
    done: usize,
}

struct Running {
    name: String,
    log: PathBuf,
}

impl Board {
    pub(crate) fn new(cache: &Path) -> Result<Self> {
        let logs = cache.join("logs");
        paths::make_dir(&logs)?;
        Ok(Self { began: Instant::now(), logs, state: Mutex::default() })
    }

    /// Runs a command as one step; its output goes to a log that the error quotes.
    pub(super) fn run(&self, name: &str, command: &mut Command) -> Result<()> {
        self.step(name, |log| exec::logged(command, log))
    }

    /// A build: mostly nothing has changed, and then it is not worth a line.
    pub(super) fn build(&self, name: &str, command: &mut Command) -> Result<()> {
        self.measured(name, REMINDER / 10, |log| exec::logged(command, log))
    }

    /// Runs a step that needs more than one command.
    pub(crate) fn step<T>(&self, name: &str, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        say!("setup: {name} ...");
        self.measured(name, Duration::ZERO, work)
    }

    /// Shows the step's time if it took at least `worth_a_line`.
    fn measured<T>(
        &self,
        name: &str,
        worth_a_line: Duration,
        work: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let file: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let log = self.logs.join(format!("{file}.log"));
        // An old log would pass for this step's progress until its first command begins.
        let _ = std::fs::remove_file(&log);
        self.state().running.push(Running { name: name.to_owned(), log: log.clone() });
        let began = Instant::now();
        let result = work(&log);
        let mut state = self.state();
        state.running.retain(|step| step.name != name);
        if result.is_ok() && began.elapsed() >= worth_a_line {
            state.done += 1;
            say!("setup: {name}: done in {:.1} s", began.elapsed().as_secs_f64());
        }
        drop(state);
        result.with_context(|| format!("failed at `{name}`, log `{}`", log.display()))
    }

    /// Shows the long steps' last words until everything has ended.
    pub(crate) fn report_until(&self, ended: impl Fn() -> bool) {
        let mut reminded = Instant::now();
        while !ended() {
            sleep(exec::POLL);
            if reminded.elapsed() < REMINDER {
                continue;
            }
            reminded = Instant::now();
            for step in &self.state().running {
                let last: String = exec::tail(&step.log, 1).trim().chars().take(LINE_CHARS).collect();
                say!("setup: {:4.0} s  {}: {last}", self.began.elapsed().as_secs_f64(), step.name);
            }
        }
    }

    pub(super) fn close(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        match self.state().done {
            0 => say!("setup: everything is in place ({seconds:.1} s)"),
            done => say!("setup: everything is in place after {seconds:.1} s ({done} done now)"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The list is only for display: a panic elsewhere leaves nothing in it that could do harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error only says that its track was stopped because another one failed.
pub(super) fn is_stop(error: &anyhow::Error) -> bool {
    error.root_cause().to_string() == "stopped"
}
