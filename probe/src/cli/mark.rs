//! `probe mark`: begins a phase in a run that is under way, from a script or by hand.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::outdir::DEFAULT_PARENT;
use super::{Outcome, Refusal};
use crate::engine::{MARK_SOCKET, mark};

/// Arguments of `probe mark`.
#[derive(Args, Clone, Debug)]
pub struct MarkArgs {
    /// The name of the phase that begins now
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The run's directory [default: the one under runs/ that is under way]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &MarkArgs) -> anyhow::Result<Outcome> {
    let directory = args.run.clone().map_or_else(under_way, Ok)?;
    mark(&directory, &args.name)
        .map_err(|error| Refusal::usage(error.to_string(), "name the run with --run DIR"))?;
    Ok(Outcome::Ok)
}

/// The only run under `runs/` that can be marked.
fn under_way() -> Result<PathBuf, Refusal> {
    let entries = fs::read_dir(DEFAULT_PARENT).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path: &PathBuf| Path::new(path).join(MARK_SOCKET).exists()).collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Refusal::usage(
            format!("no run is under way under `{DEFAULT_PARENT}`"),
            "name its directory with --run DIR",
        )),
        (Some(_), others) => Err(Refusal::usage(
            format!("{} runs are under way under `{DEFAULT_PARENT}`", others + 1),
            "name the directory of one with --run DIR",
        )),
    }
}
