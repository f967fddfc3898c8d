//! `probe merge`: several runs as one, for hosts behind one load balancer and for repetitions of one test.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::attach::outcome;
use super::outdir::OutDir;
use super::report::Run;
use super::results::{self, Format, PROFILE};
use super::{InconclusiveAs, Outcome, Refusal};
use crate::numbers;

/// Arguments of `probe merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// The directories of the runs
    #[arg(value_name = "RUN_DIR", required = true, num_args = 2..)]
    pub run_dirs: Vec<PathBuf>,
    /// Directory for the result, new or empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Form of the report on stdout; the directory gets all of them
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// What an inconclusive verdict counts as [default: an exit code of its own, 4]
    #[arg(long, value_name = "AS")]
    pub inconclusive: Option<InconclusiveAs>,
}

/// Runs the command.
pub fn run(args: &MergeArgs) -> anyhow::Result<Outcome> {
    let mut runs =
        args.run_dirs.iter().map(|directory| Run::load(directory)).collect::<anyhow::Result<Vec<_>>>()?;
    let profile = Arc::clone(&runs[0].profile);
    let numbers = runs.drain(..).map(|run| run.numbers).collect();
    let merged = numbers::merge(numbers, &profile).map_err(|why| {
        Refusal::usage(format!("failed to merge these runs: {why}"), "merge runs of one profile")
    })?;
    let report = merged.report(&profile);
    let mut out = OutDir::create(&args.out)?;
    out.keep();
    let has_profile = results::save(out.path(), PROFILE, &profile.text);
    if results::save_all(out.path(), &report, &merged) && has_profile {
        tracing::info!(directory = %out.path().display(), "merged run saved");
    }
    results::show(&report, args.format)?;
    Ok(outcome(report.verdict, args.inconclusive))
}
