//! What probe costs: measured off and on in turn, in one run, printed as a table and as JSON.
//!
//! `bench [--rounds N] [--json FILE] [--sqlite]`; `cargo xtask bench` builds everything in release mode and runs it. Nothing here
//! passes or fails: it measures.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its result, with progress"
)]

mod calls;
mod requests;
mod statements;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Results {
    kernel: String,
    calls: Vec<calls::Row>,
    statements: Vec<statements::Row>,
    requests: Vec<requests::Row>,
}

/// The middle value; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn main() -> Result<()> {
    let (mut rounds, mut json, mut is_sqlite_only) = (5, None, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            // Our own child: makes system calls and says how long they took.
            "--loop" => return calls::make(&value()?),
            "--statements" => return statements::make(&value()?),
            "--rounds" => rounds = value()?.parse().context("`--rounds` takes a number")?,
            "--json" => json = Some(PathBuf::from(value()?)),
            "--sqlite" => is_sqlite_only = true,
            _ => bail!("unknown argument `{arg}`, use --rounds N, --json FILE and --sqlite"),
        }
    }
    if is_sqlite_only {
        println!("{}", statements::table(&statements::measure(rounds)?));
        return Ok(());
    }
    let results = Results {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        calls: calls::measure(rounds)?,
        statements: statements::measure(rounds)?,
        requests: requests::measure(rounds)?,
    };
    println!("{}", calls::table(&results.calls));
    println!("{}", statements::table(&results.statements));
    println!("{}", requests::table(&results.requests));
    if let Some(path) = json {
        fs::write(&path, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(())
}
