//! `probe attach`: everything is checked before anything is attached, then one run, then its results.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use probe_common::rooms::Rooms;

use super::outdir::OutDir;
use super::results::{self, PROFILE};
use super::stop::Stop;
use super::{AttachArgs, InconclusiveAs, Outcome, Problem, Refusal, WatchArgs};
use crate::engine::{self, EngineConfig, Finished, RunPlan};
use crate::host::{Host, Severity, prerequisites};
use crate::probes::{self, gpu};
use crate::profile::{Profile, nearest};
use crate::slo::Verdict;
use crate::target;

const BYTES_PER_MIB: u32 = 1024 * 1024;

/// Runs the command.
pub fn run(args: &AttachArgs) -> anyhow::Result<Outcome> {
    watch(&args.watch, args.duration, |_, _, _| Ok(None))
}

/// Watches to the end and judges. `plan` is asked once everything else has been checked.
pub(super) fn watch(
    args: &WatchArgs,
    duration: Option<Duration>,
    plan: impl FnOnce(&Profile, &[target::Root], &Path) -> Result<Option<RunPlan>, Refusal>,
) -> anyhow::Result<Outcome> {
    // Before any thread is started; a Ctrl-C from now on is kept until the run looks.
    let stop = Stop::install().context("failed to take over `SIGINT`")?;

    let profile = load_profile(args)?;
    if let Some(out) = &args.out {
        OutDir::check(out)?;
    }
    let rooms = select(args)?;
    check_host(&args.btf)?;
    let roots = target::resolve(&args.target)?;
    let first = roots.first().map(|root| root.pid).unwrap_or_default();
    let mut out = match &args.out {
        Some(out) => OutDir::create(out)?,
        None => OutDir::create_default(first)?,
    };

    let plan = plan(&profile, &roots, out.path())?;
    let profile = Arc::new(profile);
    // Before the run: should it be killed, its recording can still be judged by the same profile.
    let has_profile = results::save(out.path(), PROFILE, &profile.text);
    let finished = engine::run(EngineConfig {
        roots,
        children: !args.no_children,
        rooms,
        without: args.force_rung.clone(),
        duration,
        plan,
        ring_bytes: args.ring_mib * BYTES_PER_MIB,
        btf: args.btf.clone(),
        out: out.path().to_owned(),
        record: args.record,
        budget: args.budget,
        gpu: gpu::Config { interval: args.gpu_interval, library: args.nvml.clone() },
        profile: Arc::clone(&profile),
        stop,
    });
    if finished.is_err() {
        // Nothing came of it: leave nothing either.
        let _ = fs::remove_file(out.path().join(PROFILE));
    }
    let Finished { report, numbers, warnings } = finished?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }

    out.keep();
    if results::save_all(out.path(), &report, &numbers) && has_profile {
        tracing::info!(directory = %out.path().display(), "run saved");
    }
    results::show(&report, args.format)?;
    Ok(outcome(report.verdict, args.inconclusive))
}

/// A profile's errors are told all at once.
fn load_profile(args: &WatchArgs) -> Result<Profile, Refusal> {
    let profile = args.profile.as_deref().map_or_else(Profile::builtin, Profile::load);
    profile.map_err(|errors| Refusal::usage(errors.to_string(), "see `profiles/` for examples"))
}

/// The rooms that `--only` and `--skip` leave on.
fn select(args: &WatchArgs) -> Result<Rooms, Refusal> {
    let names = || probes::switchable().map(|spec| spec.id);
    let rooms = probes::selection(&args.only, &args.skip).map_err(|name| {
        let hint =
            nearest(name, names()).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let known = names().collect::<Vec<_>>().join(", ");
        Refusal::usage(format!("no probe has the name `{name}`{hint}"), format!("the probes are: {known}"))
    })?;
    if rooms == Rooms::NONE {
        return Err(Refusal::usage("no probe is left: `--skip` takes away all there are", "leave one on"));
    }
    Ok(rooms)
}

/// Refuses with everything that blocks, so that one try shows all there is to mend.
fn check_host(btf: &Path) -> anyhow::Result<()> {
    let host = Host::read(btf).context("failed to ask the kernel for its `uname`")?;
    let mut problems = Vec::new();
    for gap in prerequisites(&host) {
        match gap.severity {
            Severity::Blocks => problems.push(Problem { what: gap.what, remedy: gap.remedy }),
            Severity::Degrades => {
                tracing::warn!(consequence = %gap.consequence, remedy = %gap.remedy, "{}", gap.what);
            }
            Severity::Info => tracing::debug!(consequence = %gap.consequence, "{}", gap.what),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal { problems, is_usage: false }.into()) }
}

/// How a run with this verdict ends.
pub(super) const fn outcome(verdict: Verdict, inconclusive: Option<InconclusiveAs>) -> Outcome {
    match (verdict, inconclusive) {
        (Verdict::Pass | Verdict::Warn, _) => Outcome::Ok,
        (Verdict::Fail, _) | (Verdict::Inconclusive, Some(InconclusiveAs::Fail)) => Outcome::Failed,
        (Verdict::Inconclusive, Some(InconclusiveAs::Warn | InconclusiveAs::Pass)) => Outcome::Ok,
        (Verdict::Inconclusive, None) => Outcome::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inconclusive_is_mapped_and_nothing_else() {
        use InconclusiveAs as As;
        for (verdict, plain, fail, warn) in [
            (Verdict::Pass, 0, 0, 0),
            (Verdict::Warn, 0, 0, 0),
            (Verdict::Fail, 3, 3, 3),
            (Verdict::Inconclusive, 4, 3, 0),
        ] {
            let code = |inconclusive| outcome(verdict, inconclusive).code();
            assert_eq!((code(None), code(Some(As::Fail)), code(Some(As::Warn))), (plain, fail, warn));
            assert_eq!(code(Some(As::Pass)), warn);
        }
    }
}
