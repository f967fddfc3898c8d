//! `probe attach` against real servers and oracles that it does not know of: packet captures, the clients'
//! own logs, strace, the kernel's counters. Needs root; runs one trial at a time, because the machine's
//! cores are part of what is measured.

mod block;
mod engine;
mod file_io;
mod gpu;
mod harness;
mod http;
mod process;
mod resources;
mod socket;
mod sqlite;
mod tls;
mod watch;
mod websocket;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use probe_tests::{
    counts,
    say::say,
    skip::{self, Reason},
};

/// Files of which a brief run has the first trial: those meet each program of the kernel side. What the other files try is
/// decided in user space, which is the same on every kernel.
const BRIEF: [&str; 17] = [
    "process",
    "resources",
    "socket::accept",
    "socket::syscalls",
    "http::exact",
    "http::unix",
    "http::outgoing",
    "tls",
    "file_io::stages",
    "websocket",
    "sqlite::contention",
    "sqlite::statements",
    "sqlite::wal",
    "engine::budget",
    "engine::detach",
    "engine::rungs",
    "gpu::values",
];

/// The trials, with what stands in their way.
struct Suite {
    obstacle: Option<Reason>,
    /// A run on each kernel of the ladder, mostly emulated: without the trials that need a real machine.
    ladder: bool,
    /// Of the files of [`BRIEF`] the first trial.
    brief: bool,
    /// The file that had its last trial added.
    file: String,
    trials: Vec<Trial>,
    /// Of all trials.
    names: Vec<String>,
}

/// How often a trial is made at most. A run of which probe itself says that the kernel left out programs (see
/// `Report::n_recursions`) cannot be held against exact oracles. What is lost each time fails, and any other loss at once.
const ATTEMPTS: u32 = 3;

impl Suite {
    fn add(&mut self, name: &str, run: impl Fn() -> anyhow::Result<()> + Send + 'static) {
        let file = name.rsplit_once("::").map_or(name, |(file, _)| file);
        let is_first = self.file != file;
        file.clone_into(&mut self.file);
        if self.brief && !(is_first && BRIEF.contains(&file)) {
            return;
        }
        self.names.push(name.to_owned());
        let own = name.to_owned();
        self.trials.push(skip::trial(name, self.obstacle.as_ref(), move || {
            let mut left = ATTEMPTS;
            loop {
                counts::begin(&own);
                left -= 1;
                match run() {
                    Err(error) if left > 0 && counts::n_lost() > 0 => say(&format!("    again: {error:#}")),
                    ended => {
                        counts::tell();
                        return ended;
                    }
                }
            }
        }));
    }
}

/// Whether `cargo xtask test --kernels` asks for this.
fn asked(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
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

/// The same for trials that need a real machine: they compare times with an oracle, or need its speed.
macro_rules! add_timed {
    ($suite:expr, $($test:ident),+ $(,)?) => {
        if !$suite.ladder { $crate::add!($suite, $($test),+); }
    };
}
pub(crate) use add_timed;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let obstacle = skip::obstacle(|| match aya::programs::loaded_programs().next() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
    });
    let mut suite = Suite {
        obstacle,
        ladder: asked("PROBE_TEST_LADDER"),
        brief: asked("PROBE_TEST_BRIEF"),
        file: String::new(),
        trials: Vec::new(),
        names: Vec::new(),
    };
    if !suite.ladder {
        // They judge the oracles of times.
        harness::add_to(&mut suite);
    }
    process::add_to(&mut suite);
    resources::add_to(&mut suite);
    socket::add_to(&mut suite);
    http::add_to(&mut suite);
    tls::add_to(&mut suite);
    file_io::add_to(&mut suite);
    block::add_to(&mut suite);
    websocket::add_to(&mut suite);
    sqlite::add_to(&mut suite);
    engine::add_to(&mut suite);
    gpu::add_to(&mut suite);
    if suite.brief {
        assert_eq!(suite.names.len(), BRIEF.len(), "a file of `BRIEF` has another name now");
    } else if !suite.ladder {
        harness::check_list(&mut suite);
    }
    libtest_mimic::run(&arguments, suite.trials).exit_code()
}
