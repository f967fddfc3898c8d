//! `probe compare`: is this run worse than those before it?

use std::path::PathBuf;

use clap::Args;

use super::attach::outcome;
use super::report::Run;
use super::results::{self, Format};
use super::{InconclusiveAs, Outcome};
use crate::numbers::compare::compare;

/// Arguments of `probe compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The directory of the run
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,
    /// The directories of the runs before it; none makes the verdict inconclusive
    #[arg(long, value_name = "RUN_DIR", num_args = 0..)]
    pub baseline: Vec<PathBuf>,
    /// Form of the result on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// What an inconclusive verdict counts as [default: an exit code of its own, 4]
    #[arg(long, value_name = "AS")]
    pub inconclusive: Option<InconclusiveAs>,
}

/// Runs the command.
pub fn run(args: &CompareArgs) -> anyhow::Result<Outcome> {
    let run = Run::load(&args.run_dir)?;
    let baselines = args
        .baseline
        .iter()
        .map(|directory| Run::load(directory).map(|run| run.numbers))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let report = compare(&run.numbers, &baselines, &run.profile);
    results::show(&report, args.format)?;
    Ok(outcome(report.verdict, args.inconclusive))
}
