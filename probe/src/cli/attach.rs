//! `probe attach`: everything is checked before anything is attached, then one run, then its results.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use probe_common::rooms::Rooms;

use super::outcome::{is_colour_wanted, print_report};
use super::outdir::OutDir;
use super::report::{PROFILE, REPORT_JSON, REPORT_TEXT};
use super::stop::Stop;
use super::{AttachArgs, InconclusiveAs, Outcome, Problem, Refusal, WatchArgs};
use crate::engine::{self, EngineConfig, Finished, RunPlan};
use crate::host::{Host, Severity, prerequisites};
use crate::probes::{self, gpu};
use crate::profile::{Profile, nearest};
use crate::report::{Json, Renderer as _, Text};
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
    let n_saved = save(out.path(), &[(PROFILE, &profile.text)]);
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
        gpu: gpu::Config { interval: args.gpu_interval, library: args.nvml.clone() },
        profile: Arc::clone(&profile),
        stop,
    });
    if finished.is_err() {
        // Nothing came of it: leave nothing either.
        let _ = fs::remove_file(out.path().join(PROFILE));
    }
    let Finished { report, warnings } = finished?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }

    out.keep();
    let results =
        [(REPORT_JSON, &Json.render(&report)), (REPORT_TEXT, &Text { colour: false }.render(&report))];
    if n_saved + save(out.path(), &results) == 1 + results.len() {
        tracing::info!(directory = %out.path().display(), "run saved");
    }
    print_report(&Text { colour: is_colour_wanted() }.render(&report))
        .context("failed to write the report to `stdout`")?;
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

/// Writes files and says how many it could. The report goes to stdout whatever happens here, so a full disk is
/// told and does not change the verdict.
fn save(directory: &Path, files: &[(&str, &String)]) -> usize {
    let save_one = |(name, contents): &&(&str, &String)| {
        let path = directory.join(name);
        let saved = fs::write(&path, contents);
        if let Err(error) = &saved {
            // Half a file would be read as a damaged run later.
            let _ = fs::remove_file(&path);
            complain(&path, error);
        }
        saved.is_ok()
    };
    files.iter().filter(save_one).count()
}

fn complain(path: &Path, error: &dyn Display) {
    tracing::error!(path = %path.display(), %error, "failed to save a result; the report on stdout is complete");
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

    #[test]
    fn a_directory_that_is_gone_does_not_stop_the_others() {
        let text = String::new();
        assert_eq!(save(Path::new("/nonexistent/run"), &[(REPORT_JSON, &text), (REPORT_TEXT, &text)]), 0);
    }
}
