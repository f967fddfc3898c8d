//! `cargo xtask bench`: what probe costs, measured in release mode on this machine. The measuring is in
//! `tests/src/bin/bench`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::between::replaced;
use crate::say::say;
use crate::setup::{self, Goal};
use crate::{exec, paths};

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --rounds N       off/on pairs per figure (5)\n      --part NAME      only calls, requests, documents, ...\n      \
     --json FILE      all figures as JSON\n      --compare FILE   which are better or worse than those (default: the \
     baseline in the tree)\n      --write          write that baseline and the tables of the README\n";

const BUILD: [&str; 7] = ["build", "--release", "--package", "probe", "--package", "probe-tests", "--bins"];
const BASELINE: &str = "tests/bench/baseline.json";
const README: &str = "README.md";
/// The generated part of the README lies between these.
const BEGIN: &str = "<!-- cost: written by `cargo xtask bench --write` -->\n";
const END: &str = "<!-- end of cost -->\n";
/// Where rezolus is: sudo looks in other places than the user's shell.
const REZOLUS: &str = "PROBE_BENCH_REZOLUS";

/// Hands its arguments on to the program that measures, but for `--write`.
pub(crate) fn run(args: &mut lexopt::Parser) -> Result<()> {
    let (args, writes) = split(args.raw_args()?)?;
    exec::authenticate("to load programs into the kernel")?;
    let ready = setup::run(Goal::Bench, &BUILD)?;
    let bench = paths::built("../release/bench")?;
    let (json, markdown) = (bench.with_extension("json"), bench.with_extension("md"));
    let baseline = paths::root().join(BASELINE);
    let mut command = exec::as_root("env");
    // sudo clears the environment.
    command.arg(format!("PROBE_TEST_PYTHON={}", ready.python.display()));
    let rezolus = env::var_os(REZOLUS).map(Into::into).or_else(|| paths::find_program("rezolus"));
    command.args(rezolus.map(|path| format!("{REZOLUS}={}", path.display())));
    command.arg(bench).arg("--baseline").arg(&baseline).args(args);
    if !writes {
        return exec::exec(&mut command);
    }
    exec::exec(command.arg("--json").arg(&json).arg("--markdown").arg(&markdown))?;
    // Written by root; what is in the tree stays the user's.
    baseline.parent().map_or(Ok(()), paths::make_dir)?;
    write(&baseline, &read(&json)?)?;
    let readme = paths::root().join(README);
    write(&readme, &replaced(&read(&readme)?, BEGIN, END, &format!("\n{}\n", read(&markdown)?))?)?;
    say!("bench: wrote `{BASELINE}` and the tables of `{README}`");
    Ok(())
}

/// The arguments for the program that measures, and whether its results are to be written into the tree.
fn split(args: impl Iterator<Item = OsString>) -> Result<(Vec<OsString>, bool)> {
    let (ours, args): (Vec<_>, Vec<_>) = args.partition(|arg| arg == "--write");
    if !ours.is_empty() && args.iter().any(|arg| arg == "--part") {
        bail!(
            "failed to write the results of a part\nfigures are to be of one run: leave out `--part` or `--write`"
        );
    }
    Ok((args, !ours.is_empty()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_not_written() {
        let split = |args: &[&str]| split(args.iter().map(OsString::from));
        assert_eq!(split(&["--rounds", "3"]).unwrap(), (vec!["--rounds".into(), "3".into()], false));
        assert_eq!(
            split(&["--write", "--rounds", "3"]).unwrap(),
            (vec!["--rounds".into(), "3".into()], true)
        );
        assert!(split(&["--part", "calls", "--write"]).is_err());
    }

    #[test]
    fn the_readme_has_a_place_for_the_tables() {
        let readme = read(&paths::root().join(README)).unwrap();
        assert!(replaced(&readme, BEGIN, END, "").is_ok());
    }
}
