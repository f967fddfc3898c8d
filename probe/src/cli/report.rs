//! `probe report`: the report of a run again, from its directory, without root.
//!
//! A run directory holds the report in every form (`report.json`, `.txt`, `.html`, `.md`, `junit.xml`), `numbers.json` (all
//! that was counted, with its histograms), `profile.toml` (the text of the profile that was used) and, after
//! `attach --record`, `recording.jsonl`. With a recording the run is analysed anew, which by the same
//! profile gives the same `report.json` to the byte; without one `report.json` is shown again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::attach::outcome;
use super::results::{self, Format, NUMBERS, PROFILE, REPORT_JSON};
use super::{InconclusiveAs, Outcome, Refusal};
use crate::analysis::Analysis;
use crate::engine::record;
use crate::numbers::Numbers;
use crate::profile::Profile;
use crate::report::{Report, model};

/// Arguments of `probe report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// The directory of the run
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,
    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Judge by this profile instead of the run's own; needs a recording
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// What an inconclusive verdict counts as [default: an exit code of its own, 4]
    #[arg(long, value_name = "AS")]
    pub inconclusive: Option<InconclusiveAs>,
}

/// Runs the command.
pub fn run(args: &ReportArgs) -> anyhow::Result<Outcome> {
    let report = load(args)?;
    results::show(&report, args.format)?;
    Ok(outcome(report.verdict, args.inconclusive))
}

/// A run with all its numbers, as they were kept.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) profile: Arc<Profile>,
    pub(super) numbers: Numbers,
}

impl Run {
    pub(super) fn load(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(NUMBERS);
        if !directory.is_dir() || !path.is_file() {
            return Err(Refusal::usage(
                format!("`{}` holds no run with its numbers (`{NUMBERS}`)", directory.display()),
                "name the directory that `probe attach` told when it saved the run",
            )
            .into());
        }
        let profile = Profile::load(&directory.join(PROFILE)).map_err(|errors| {
            Refusal::usage(errors.to_string(), "compare runs that hold their own profile")
        })?;
        let what = || format!("failed to read `{}`", path.display());
        let text = fs::read_to_string(&path).with_context(what)?;
        let numbers = Numbers::from_text(&text).map_err(anyhow::Error::msg).with_context(what)?;
        Ok(Self { profile: Arc::new(profile), numbers })
    }
}

/// The report of a run directory.
fn load(args: &ReportArgs) -> anyhow::Result<Report> {
    let directory = &args.run_dir;
    if !directory.is_dir() {
        return Err(Refusal::usage(
            format!("`{}` is no run directory", directory.display()),
            "name the directory that `probe attach` told when it saved the run",
        )
        .into());
    }
    let recording = directory.join(record::FILE_NAME);
    match (recording.is_file(), &args.profile) {
        (true, _) => replay(args, &recording),
        (false, None) => reread(directory),
        (false, Some(_)) => Err(Refusal::usage(
            format!("run `{}` has no recording to judge by another profile", directory.display()),
            "record the run: `probe attach --record`",
        )
        .into()),
    }
}

fn replay(args: &ReportArgs, recording: &Path) -> anyhow::Result<Report> {
    let own = args.run_dir.join(PROFILE);
    let path = args.profile.as_deref().unwrap_or(&own);
    let profile = if args.profile.is_none() && !path.exists() {
        // A killed run has not come to the point where it leaves its profile.
        tracing::warn!(
            "the run holds no {PROFILE}, it is judged by the built-in profile; --profile names another"
        );
        Profile::builtin()
    } else {
        Profile::load(path)
    };
    let profile = profile.map_err(|errors| Refusal::usage(errors.to_string(), ""))?;
    let mut analysis = Analysis::new(Arc::new(profile));
    let summary = record::read(recording, |event| analysis.event(&event))?;
    Ok(analysis.finish(&summary))
}

fn reread(directory: &Path) -> anyhow::Result<Report> {
    let path = directory.join(REPORT_JSON);
    let what = || format!("failed to read report `{}`", path.display());
    let text = fs::read_to_string(&path).with_context(what)?;
    let report: Report = serde_json::from_str(&text).with_context(what)?;
    anyhow::ensure!(
        report.schema == model::SCHEMA,
        "failed to read report `{}`: unknown format `{}`, this probe reads `{}`",
        path.display(),
        report.schema.escape_default(),
        model::SCHEMA
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Exit, Summary};
    use crate::report::{Json, Renderer as _};

    const PROFILE_TEXT: &str =
        "name = 'own'\n[[objective]]\nid = 'o'\nmetric = 'requests'\ntarget = 1\nlimit = 1\n";

    fn args(directory: &Path) -> ReportArgs {
        ReportArgs { run_dir: directory.to_owned(), format: Format::Json, profile: None, inconclusive: None }
    }

    /// A run directory with a recording of no requests.
    fn recorded() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = record::Writer::create(directory.path(), &record::Header::default()).unwrap();
        writer.event(&Event::Exit(Exit { ts_ns: 5, pid: 1 }));
        writer.finish(&Summary { end_ns: 9, ..Summary::default() }).unwrap();
        directory
    }

    #[test]
    fn a_recording_is_judged_by_its_own_profile_another_or_none() {
        let directory = recorded();
        assert_eq!(load(&args(directory.path())).unwrap().run.profile.name, "default");
        fs::write(directory.path().join(PROFILE), PROFILE_TEXT).unwrap();
        assert_eq!(load(&args(directory.path())).unwrap().run.profile.name, "own");
        let other = directory.path().join("other.toml");
        fs::write(&other, PROFILE_TEXT.replace("own", "other")).unwrap();
        let args = ReportArgs { profile: Some(other.clone()), ..args(directory.path()) };
        assert_eq!(load(&args).unwrap().run.profile.name, "other");
        fs::write(&other, "nmae = 'x'").unwrap();
        let refusal = load(&args).unwrap_err().downcast::<Refusal>().unwrap();
        assert!(refusal.is_usage && refusal.to_string().contains("did you mean `name`?"), "{refusal}");
    }

    #[test]
    fn without_a_recording_the_report_is_read_again() {
        let directory = recorded();
        let report = load(&args(directory.path())).unwrap();
        let other = tempfile::tempdir().unwrap();
        let path = other.path().join(REPORT_JSON);
        fs::write(&path, Json.render(&report)).unwrap();
        assert_eq!(load(&args(other.path())).unwrap(), report);
        fs::write(&path, Json.render(&report).replace("report/1", "report/9")).unwrap();
        assert!(
            load(&args(other.path())).unwrap_err().to_string().contains("unknown format `probe.report/9`")
        );
        let with_profile = ReportArgs { profile: Some(path), ..args(other.path()) };
        assert!(load(&with_profile).unwrap_err().to_string().contains("no recording"));
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        assert!(load(&args(empty.path())).unwrap_err().to_string().contains("failed to read report"));
        let nowhere = load(&args(&empty.path().join("none"))).unwrap_err();
        assert!(nowhere.to_string().ends_with("is no run directory"), "{nowhere}");
    }
}
