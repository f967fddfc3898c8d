//! The command line: clap structs only, no I/O. What each command does is in the file of its name;
//! how a command ends is in [`outcome`].

pub mod args;
pub mod attach;
pub mod compare;
pub mod doctor;
pub mod mark;
pub mod merge;
pub mod net;
pub mod outcome;
pub mod outdir;
mod readiness;
pub mod report;
pub mod results;
pub mod run;
mod run_net;
pub mod stop;

use clap::{ArgAction, Parser, Subcommand};

pub use args::{AttachArgs, DoctorArgs, InconclusiveAs, RunArgs, TargetArgs, WatchArgs};
pub use outcome::{Outcome, Problem, Refusal};

/// Sees a running server from the kernel: what each endpoint really took, and one verdict per objective.
///
/// Exit codes: 0 pass or warn, 1 probe could not do its work, 2 usage or profile error, 3 an objective
/// failed, 4 inconclusive.
#[derive(Debug, Parser)]
#[command(name = "probe", version, max_term_width = 100, subcommand_required = true)]
pub struct Cli {
    /// Say more on stderr (-v debug, -vv trace); the variable `RUST_LOG` overrides it
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say only warnings and errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch a running process tree and judge it when the run ends
    Attach(AttachArgs),
    /// Play the phases of a profile with their load, and judge them
    Run(RunArgs),
    /// Begin a phase in a run that is under way
    Mark(mark::MarkArgs),
    /// Apply network conditions by hand: delay, loss, rate on exactly the traffic under test
    Net(net::NetArgs),
    /// Make the report again from a run directory (no root needed)
    Report(report::ReportArgs),
    /// Judge a run against those before it
    Compare(compare::CompareArgs),
    /// Put runs of several hosts, or repetitions, together as one
    Merge(merge::MergeArgs),
    /// Say what can be seen on this machine, what cannot, and the remedy
    Doctor(DoctorArgs),
}

impl Cli {
    /// The log filter for stderr when `RUST_LOG` does not set one.
    pub const fn log_filter(&self) -> &'static str {
        match (self.quiet, self.verbose) {
            (true, _) => "warn",
            (_, 0) => "warn,probe=info",
            (_, 1) => "info,probe=debug",
            _ => "debug,probe=trace",
        }
    }
}

/// Runs the command.
pub fn run(cli: &Cli) -> anyhow::Result<Outcome> {
    match &cli.command {
        Command::Attach(args) => attach::run(args),
        Command::Run(args) => run::run(args),
        Command::Mark(args) => mark::run(args),
        Command::Net(args) => net::run(args),
        Command::Report(args) => report::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Doctor(args) => doctor::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("probe").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_target_is_needed_and_only_one() {
        for (line, ok) in [
            ("attach --pid 1", true),
            ("attach --port 8000 --duration 5m --record --no-children", true),
            ("attach --cgroup system.slice/app.service --out d", true),
            ("attach", false),
            ("attach --pid 1 --port 2", false),
            ("attach --pid 0", false),
            ("attach --port 0", false),
            ("attach --port 65536", false),
            ("attach --pid 1 --duration 0", false),
            ("attach --pid 1 --duration soon", false),
            ("attach --pid 1 --inconclusive maybe", false),
            ("run --pid 1 --profile p.toml -- k6 run -u {users} s.js", true),
            ("run --pid 1 --duration 5s -- k6", false),
            ("run -- k6", false),
            ("compare r --baseline a b --format json", true),
            ("compare", false),
            ("merge a b --out c", true),
            ("merge a --out c", false),
            ("merge a b", false),
            ("doctor", true),
            ("doctor --port 8000", true),
            ("doctor --pid 1 --port 8000", false),
            ("-v -q doctor", false),
            ("", false),
        ] {
            assert_eq!(parse(line).is_ok(), ok, "{line}");
        }
    }
}
