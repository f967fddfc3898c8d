//! `cargo xtask fuzz`: lets libFuzzer try every target under tests/fuzz, from the same seed each time: so many inputs, which
//! are then the same ones on every machine, or for some seconds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::say::say;
use crate::setup::{self, Goal};
use crate::{exec, paths};

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --runs N         inputs of each target (50000)\n      --seconds N      for so long instead\n      \
     --seed N         another sequence of inputs (1)\n";
/// Inputs of each target where nothing else is asked for: the slowest target takes some seconds.
const RUNS: u32 = 50_000;

/// How much of each target.
#[derive(Clone, Copy)]
enum Length {
    Runs(u32),
    Seconds(u32),
}

const VERSION: &str = "0.13.2";
const FOLDER: &str = "tests/fuzz";
const BUILT: &str = "target/fuzz";

pub(crate) fn run(args: &mut lexopt::Parser) -> Result<()> {
    use lexopt::prelude::*;
    let (mut length, mut seed) = (Length::Runs(RUNS), 1_u32);
    while let Some(arg) = args.next()? {
        match arg {
            Long("runs") => length = Length::Runs(args.value()?.parse()?),
            Long("seconds") => length = Length::Seconds(args.value()?.parse()?),
            Long("seed") => seed = args.value()?.parse()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    setup::run(Goal::Tests, &[])?;
    let cargo_fuzz = ensure()?;
    build(&cargo_fuzz)?;
    let targets = targets()?;
    let mut failed = Vec::new();
    for target in &targets {
        match length {
            Length::Runs(n) => say!("fuzz: {target}, {n} inputs"),
            Length::Seconds(n) => say!("fuzz: {target}, {n} s"),
        }
        if let Err(error) = one(target, length, seed) {
            say!("{error:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("failed {}: the input that broke it lies in `target/fuzz-found`", failed.join(", "));
    }
    say!("fuzz: {} targets, nothing found", targets.len());
    Ok(())
}

/// Every target, instrumented for coverage. Without the address sanitizer: what is tested is safe Rust, and it would take
/// half of the speed; overflows and assertions are checked.
fn build(cargo_fuzz: &Path) -> Result<()> {
    let folder = paths::root().join(FOLDER);
    // The versions that everything else is built with; what only the targets need comes on top.
    fs::copy(paths::root().join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("failed to copy `Cargo.lock`")?;
    let mut command = exec::command(cargo_fuzz);
    command.args(["fuzz", "build", "--fuzz-dir", FOLDER, "--sanitizer", "none", "--target-dir", BUILT]);
    // Coverage needs unstable flags of the compiler; the kernel side is not what is tested here.
    exec::exec(command.env("RUSTC_BOOTSTRAP", "1").env("PROBE_SKIP_EBPF", "1"))
}

fn one(target: &str, length: Length, seed: u32) -> Result<()> {
    let place = |name: &str| -> Result<PathBuf> {
        let dir = paths::root().join("target").join(name).join(target);
        paths::make_dir(&dir)?;
        Ok(dir)
    };
    let (corpus, found) = (place("fuzz-corpus")?, place("fuzz-found")?);
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = exec::command(paths::root().join(BUILT).join(triple).join("release").join(target));
    command.arg(corpus).arg(seeds(target)?);
    command.arg(match length {
        Length::Runs(n) => format!("-runs={n}"),
        Length::Seconds(n) => format!("-max_total_time={n}"),
    });
    command.arg(format!("-seed={seed}"));
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.args(["-rss_limit_mb=1024", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
    if target.starts_with("http") {
        command.arg(format!("-dict={FOLDER}/http.dict"));
    }
    exec::exec(&mut command)
}

/// A folder with good inputs of a target, of which the bad ones are made.
fn seeds(target: &str) -> Result<PathBuf> {
    let dir = paths::root().join("target/fuzz-seeds").join(target);
    paths::make_dir(&dir)?;
    let found: Vec<PathBuf> = match target {
        "profile" => {
            files("profiles")?.into_iter().filter(|path| path.extension() == Some("toml".as_ref())).collect()
        }
        "recording" => files("tests/golden")?.into_iter().map(|run| run.join("recording.jsonl")).collect(),
        "elf" => vec!["/bin/true".into()],
        _ => Vec::new(),
    };
    for (number, file) in found.iter().filter(|file| file.is_file()).enumerate() {
        fs::copy(file, dir.join(number.to_string()))
            .with_context(|| format!("failed to copy `{}`", file.display()))?;
    }
    Ok(dir)
}

fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = paths::root().join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Ok(files)
}

/// The targets, by their files.
fn targets() -> Result<Vec<String>> {
    let files = files(&format!("{FOLDER}/targets"))?;
    let names = files.iter().filter_map(|file| file.file_name()?.to_str()?.strip_suffix(".rs"));
    Ok(names.map(str::to_owned).collect())
}

/// cargo-fuzz, built on first use.
fn ensure() -> Result<PathBuf> {
    let cache = paths::make_cache()?;
    let program = cache.join("bin/cargo-fuzz");
    let is_there = || {
        exec::capture(exec::command(&program).args(["fuzz", "--version"]))
            .is_ok_and(|said| said.ends_with(VERSION))
    };
    if !is_there() {
        let mut install = exec::cargo();
        install.args(["install", "cargo-fuzz", "--version", VERSION, "--locked", "--force", "--root"]);
        exec::exec(install.arg(&cache))?;
    }
    if is_there() {
        return Ok(program);
    }
    bail!("failed to run `{}`", program.display())
}
