//! `probe attach` against real servers and oracles that it does not know of: packet captures, the clients'
//! own logs, strace, the kernel's counters. Needs root; runs one trial at a time, because the machine's
//! cores are part of what is measured.

mod engine;
mod harness;
mod http;
mod process;
mod socket;
mod tls;
mod watch;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use probe_tests::skip::{self, Reason};

/// The trials, with what stands in their way.
struct Suite {
    obstacle: Option<Reason>,
    trials: Vec<Trial>,
}

impl Suite {
    fn add(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        self.trials.push(skip::trial(name, self.obstacle.as_ref(), run));
    }
}

/// Adds functions of a module as trials, named as in the source.
macro_rules! add {
    ($suite:expr, $($test:ident),+ $(,)?) => {
        $($suite.add(
            &format!("{}::{}", module_path!().trim_start_matches("kernel::"), stringify!($test)),
            $test,
        );)+
    };
}
pub(crate) use add;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let obstacle = skip::obstacle(|| match aya::programs::loaded_programs().next() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
    });
    let mut suite = Suite { obstacle, trials: Vec::new() };
    harness::add_to(&mut suite);
    process::add_to(&mut suite);
    socket::add_to(&mut suite);
    http::add_to(&mut suite);
    tls::add_to(&mut suite);
    engine::add_to(&mut suite);
    libtest_mimic::run(&arguments, suite.trials).exit_code()
}
