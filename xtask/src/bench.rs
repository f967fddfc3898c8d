//! `cargo xtask bench`: what probe costs, measured in release mode on this machine. The measuring is in
//! `tests/src/bin/bench`.

use anyhow::Result;

use crate::setup::{self, Goal};
use crate::{exec, paths};

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --rounds N       off/on pairs per figure (5)\n      --part NAME      only calls, requests, documents, ...\n      \
     --json FILE      all figures as JSON\n      --compare FILE   which are better or worse than those\n";

const BUILD: [&str; 7] = ["build", "--release", "--package", "probe", "--package", "probe-tests", "--bins"];

/// Hands its arguments on to the program that measures.
pub(crate) fn run(args: &mut lexopt::Parser) -> Result<()> {
    exec::authenticate("to load programs into the kernel")?;
    let ready = setup::run(Goal::Tests, &BUILD)?;
    let bench = paths::built("../release/bench")?;
    let mut command = exec::as_root("env");
    // sudo clears the environment.
    command.arg(format!("PROBE_TEST_PYTHON={}", ready.python.display())).arg(bench).args(args.raw_args()?);
    exec::exec(&mut command)
}
