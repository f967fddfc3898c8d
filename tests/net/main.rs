//! Injected network conditions as packets meet them: in network namespaces of the tests' own, judged by sockets, by
//! `tc` and `ip`, never by probe's own measurements. Runs on this kernel, and on others under `cargo xtask vm`; what
//! needs sch_netem or tcx is skipped where the kernel lacks it.

mod bench;
mod between;
mod force;
mod kinds;
mod pair;
mod phase;
mod pipeline;
mod refuse;
mod restore;
mod scope;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use probe_tests::skip::{self, Reason};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Rates and delays are measured: one at a time.
    arguments.test_threads = Some(1);
    let obstacle = skip::obstacle(|| match aya::programs::loaded_programs().next() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
    });
    let no_netem = obstacle.clone().or_else(|| {
        let has_netem = bench::isolated(|| bench::run("tc", &["qdisc", "add", "dev", "lo", "root", "netem"]));
        has_netem.err().map(|_| skip::lacks("sch_netem"))
    });
    let mut suite = Suite { obstacle, no_netem, trials: Vec::new() };
    force::add_to(&mut suite);
    between::add_to(&mut suite);
    phase::add_to(&mut suite);
    kinds::add_to(&mut suite);
    pipeline::add_to(&mut suite);
    scope::add_to(&mut suite);
    restore::add_to(&mut suite);
    refuse::add_to(&mut suite);
    if std::env::var_os("PROBE_TEST_BRIEF").is_some() {
        suite.trials.retain(|trial| BRIEF.iter().any(|name| trial.name().starts_with(name)));
    }
    libtest_mimic::run(&arguments, suite.trials).exit_code()
}

/// The effects of the others do not depend on the kernel, or they take minutes on an emulated machine.
const BRIEF: [&str; 6] = [
    "between::",
    "force::",
    "restore::",
    "kinds::every_value_reads_back",
    "scope::a_containers",
    "refuse::a_kernel_without",
];

/// The trials, with what stands in their way.
struct Suite {
    obstacle: Option<Reason>,
    no_netem: Option<Reason>,
    trials: Vec<Trial>,
}

impl Suite {
    /// A trial in a network namespace of its own.
    fn add(&mut self, name: &str, run: fn() -> anyhow::Result<()>) {
        self.trials.push(skip::trial(name, self.obstacle.as_ref(), move || bench::isolated(run)));
    }

    /// One that needs sch_netem.
    fn add_netem(&mut self, name: &str, run: fn() -> anyhow::Result<()>) {
        self.trials.push(skip::trial(name, self.no_netem.as_ref(), move || bench::isolated(run)));
    }
}
