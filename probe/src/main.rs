//! The `probe` command: parse, run, map the outcome to an exit code (the table is in `cli/outcome.rs`).

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use probe::cli::{self, Cli, outcome};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse(); // A usage error ends here, with code 2.
    init_log(cli.log_filter());
    match cli::run(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => outcome::tell(&error, &mut io::stderr()),
    }
}

/// The log goes to stderr: stdout is the report's alone.
fn init_log(default_filter: &str) {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter)))
        .init();
}
