//! `cargo xtask COMMAND`: everything that developers and CI do with this repository, one module per command.

mod exec;
mod paths;
mod say;
mod setup;
mod stop;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

const HELP: &str = "\
Usage: cargo xtask COMMAND [OPTIONS]

  setup   install what is missing: rust-src, bpf-linker, a Python environment, test programs
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::say!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    stop::watch()?;
    let mut args = lexopt::Parser::from_env();
    match args.next()? {
        Some(Value(name)) if name == "setup" => setup::run(setup::Goal::Tests, &[]).map(drop),
        _ => bail!("{HELP}"),
    }
}
