//! `cargo xtask demo`: the whole story on the sample pipeline, once: set up, start the server, let the probe play
//! three phases of load (the last on a narrow line), show the report, and check its counts against those of
//! the load generator.

mod agreement;
mod load;
mod pipeline;
mod probe;
mod scratch;
mod service;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::say::say;
use crate::setup::{self, Goal};
use crate::{exec, paths, stop};
use scratch::Scratch;

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --seconds N      length of all three phases together (20)
      --users N        users of the load (12)
      --spawn-rate N   users that begin per second (6)
      --loop NAME      event loop of the server, asyncio or uvloop (uvloop)
      --workers N      processes of the server (1)
";

/// The program that is shown.
const BUILD: [&str; 3] = ["build", "--package", "probe"];

pub(crate) struct Options {
    pub(crate) seconds: u32,
    pub(crate) users: u32,
    pub(crate) spawn_rate: u32,
    pub(crate) event_loop: String,
    pub(crate) workers: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 20, users: 12, spawn_rate: 6, event_loop: "uvloop".to_owned(), workers: 1 }
    }
}

impl Options {
    /// Reads the options after the command's name.
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                Long("seconds") => options.seconds = args.value()?.parse()?,
                Long("users") => options.users = args.value()?.parse()?,
                Long("spawn-rate") => options.spawn_rate = args.value()?.parse()?,
                Long("loop") => options.event_loop = args.value()?.parse()?,
                Long("workers") => options.workers = args.value()?.parse()?,
                _ => return Err(arg.unexpected().into()),
            }
        }
        if options.event_loop != "asyncio" && options.event_loop != "uvloop" {
            bail!("failed to use `--loop {}`\nit is asyncio or uvloop", options.event_loop);
        }
        let numbers = [options.seconds, options.users, options.spawn_rate, options.workers];
        if numbers.contains(&0) {
            bail!("failed to use an option with the value `0`\ngive a number from 1 on");
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    exec::authenticate("to let the probe look into the kernel")?;
    let ready = setup::run(Goal::Demo, &BUILD)?;
    let began = Instant::now();
    let scratch = Scratch::new()?;
    let run_dir = new_run_dir()?;

    // Each is ended when it goes out of scope, in reverse order: on errors and on Ctrl-C as well.
    let pipeline = pipeline::start(&ready, &scratch, options)?;
    say!("demo: docpipeline answers on {} (pid {}, {})", pipeline.url(), pipeline.pid(), options.event_loop);
    let profile = load::profile(&ready, &scratch, options)?;
    let mut probe = probe::play(pipeline.pid(), &pipeline.url(), &run_dir, &profile)?;
    say!("demo: the load begins: {} users, {} s in three phases", options.users, options.seconds);
    let verdict = probe.finish(Duration::from_secs(load::longest_s(options).into()))?;
    pipeline.stop()?;

    keep(&scratch, &run_dir);
    let counts = load::PHASES.map(|phase| phase.counts(&scratch));
    let agreement = agreement::Agreement::read(&counts, &run_dir.join("report.json"))?;
    say!("\n{agreement}");
    say!("demo: probe ended with exit code {verdict} ({})", probe::meaning(verdict));
    say!("demo: results in {}, {:.0} s after the set-up", shown(&run_dir), began.elapsed().as_secs_f64());
    if stop::requested() {
        bail!("stopped");
    }
    if !agreement.is_exact() {
        bail!("failed to count every request: probe and the load generator disagree, see the table above");
    }
    say!(
        "demo: probe counted every request that the load generator sent: the tool works, whatever the verdict"
    );
    Ok(())
}

/// A directory of its own for each demo. The probe makes it and refuses one that exists.
fn new_run_dir() -> Result<PathBuf> {
    let runs = paths::root().join("runs");
    paths::make_dir(&runs)?;
    let time = exec::capture(exec::command("date").arg("+%Y%m%d-%H%M%S"))?;
    Ok(runs.join(format!("demo-{time}")))
}

/// Keeps the other side's evidence beside the report, where it can be read after the demo.
fn keep(scratch: &Scratch, run_dir: &std::path::Path) {
    if !exec::is_root() {
        // The probe ran under sudo, so its directory is root's, but it is the user's result.
        let owner = format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid());
        let _ = exec::status(exec::as_root("chown").args(["-R", &owner]).arg(run_dir));
    }
    let counts = load::PHASES.map(|phase| phase.counts(scratch));
    for file in counts.into_iter().chain([scratch.file("docpipeline.log")]) {
        if let Some(name) = file.file_name() {
            let _ = std::fs::copy(&file, run_dir.join(name));
        }
    }
}

fn shown(path: &std::path::Path) -> String {
    path.strip_prefix(paths::root()).unwrap_or(path).display().to_string()
}

/// Reads a JSON file that another program wrote.
fn read_json(path: &std::path::Path) -> Result<serde_json::Value> {
    let text = std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("failed to parse `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&mut lexopt::Parser::from_args(args))
    }

    #[test]
    fn options_are_checked() {
        let options = parse(&["--seconds", "5", "--loop=asyncio"]).unwrap();
        assert_eq!((options.seconds, options.event_loop.as_str()), (5, "asyncio"));
        for wrong in
            [&["--seconds", "0"][..], &["--users", "x"], &["--loop", "trio"], &["--workers"], &["more"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
