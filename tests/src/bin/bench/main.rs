//! What probe costs: measured off and on in turn, in one run, printed as a table and kept as JSON.
//!
//! `bench [--rounds N] [--part NAME]... [--json FILE] [--compare FILE]`; `cargo xtask bench` builds everything in release
//! mode and runs it. Nothing here passes or fails: it measures.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its result, with progress"
)]

mod apart;
mod calls;
mod compare;
mod crowd;
mod documents;
mod empty;
mod figure;
mod files;
mod peer;
mod peers;
mod programs;
mod repeat;
mod requests;
mod statements;
mod window;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use figure::Figure;

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// `uname -r`.
    pub(crate) kernel: String,
    /// Processors that client, server and probe shared.
    pub(crate) processors: usize,
    pub(crate) figures: Vec<Figure>,
}

/// Measures one part, with so many rounds.
type Part = fn(usize) -> Result<Vec<Figure>>;

const PARTS: [(&str, Part); 9] = [
    ("calls", calls::measure),
    ("requests", requests::measure),
    ("documents", documents::measure),
    ("statements", statements::measure),
    ("files", files::measure),
    ("sockets", crowd::sockets),
    ("endpoints", crowd::endpoints),
    ("programs", programs::measure),
    ("peers", peers::measure),
];

fn main() -> Result<()> {
    let (mut rounds, mut json, mut before) = (5, None, None);
    let mut parts = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            // Our own child: does something over and over and says how long it took.
            "--repeat" => return repeat::make(&value()?),
            "--rounds" => rounds = value()?.parse().context("`--rounds` takes a number")?,
            "--json" => json = Some(PathBuf::from(value()?)),
            "--compare" => before = Some(PathBuf::from(value()?)),
            "--part" => parts.push(value()?),
            _ => {
                bail!("unknown argument `{arg}`, use --rounds N, --part NAME, --json FILE and --compare FILE")
            }
        }
    }
    let names = PARTS.map(|(name, _)| name);
    if let Some(unknown) = parts.iter().find(|part| !names.contains(&part.as_str())) {
        bail!("there is no part `{unknown}`, only {}", names.join(", "));
    }
    let before = before.map(|path| read(&path)).transpose()?;
    let mut figures = Vec::new();
    for (name, measure) in PARTS {
        if parts.is_empty() || parts.iter().any(|part| part == name) {
            eprintln!("{name}: {rounds} rounds");
            let measured = measure(rounds).with_context(|| format!("failed to measure {name}"))?;
            println!("{}", figure::table(name, &measured));
            figures.extend(measured);
        }
    }
    println!("{}", figure::budgets(&figures));
    let results = Results {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        processors: std::thread::available_parallelism()?.get(),
        figures,
    };
    if let Some(before) = before {
        println!("{}", compare::table(&before, &results));
    }
    if let Some(path) = json {
        fs::write(&path, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(())
}

fn read(path: &PathBuf) -> Result<Results> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is not what `--json` writes", path.display()))
}
