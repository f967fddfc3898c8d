//! The command as a user meets it: every bad input gets its sentence and exit code, nothing stays in the
//! kernel, and the target goes on as if nothing had been.
//!
//! What a refused command may leave behind is the same for all: [`bench::refused`] asserts it.

mod bench;
mod history;
mod host;
mod html;
mod plan;
mod run;
mod target;
mod usage;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use probe_tests::skip::{self, Reason};

/// The trials, with what stands in the way of those that need root.
struct Suite {
    obstacle: Option<Reason>,
    trials: Vec<Trial>,
}

impl Suite {
    /// A trial that anyone can run.
    fn add(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        self.trials.push(skip::trial(name, None, run));
    }

    /// A trial that needs root.
    fn add_root(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        self.trials.push(skip::trial(name, self.obstacle.as_ref(), run));
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let obstacle = skip::obstacle(|| match aya::programs::loaded_programs().next() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
    });
    let mut suite = Suite { obstacle, trials: Vec::new() };
    usage::add_to(&mut suite);
    target::add_to(&mut suite);
    host::add_to(&mut suite);
    history::add_to(&mut suite);
    html::add_to(&mut suite);
    plan::add_to(&mut suite);
    run::add_to(&mut suite);
    libtest_mimic::run(&arguments, suite.trials).exit_code()
}
