//! `cargo xtask vm`: runs a command as root under another kernel, on this machine's own files.
//!
//! The guest sees the host's whole file system, so whatever is built here runs there; every write goes to its memory
//! and is gone with it. One call takes about four seconds.

mod apt;
mod archive;
mod catalog;
mod fetch;
mod guest;
mod machine;
mod processor;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Board, Goal};
use crate::{exec, paths};

pub(crate) use catalog::{LINES, Line, find};
pub(crate) use fetch::{Kernel, cache};
pub(crate) use guest::archive;
pub(crate) use machine::{Size, run as boot};
pub(crate) use processor::Processor;

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --kernel NAME    5.10, 6.1, 6.12, 7 (needed; the newest of that line)\n      \
     --timeout SEC    end it after this time (600)\n      \
     --memory MIB     (2048)\n      \
     --cpus N         (2)\n      \
     --as-is          neither set up nor build first\n      \
     -- COMMAND       what to run\n";

/// What a call asks for.
pub(crate) struct Options {
    line: Line,
    size: Size,
    is_as_is: bool,
    command: Vec<String>,
}

/// The programs of the tests, up to date.
const BUILD: [&str; 5] = ["build", "--package", "probe", "--package", "probe-tests"];
/// What unpacks a kernel, with the packages that hold them.
const PROGRAMS: [(&str, &str); 3] = [("depmod", "kmod"), ("xz", "xz-utils"), ("dpkg-deb", "dpkg")];

impl Options {
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let (mut line, mut is_as_is, mut command) = (None, false, Vec::new());
        let mut size = Size { cpus: 2, memory_mib: 2048, limit: Duration::from_mins(10) };
        while let Some(arg) = args.next()? {
            match arg {
                Long("kernel") => line = Some(find(&args.value()?.string()?)?),
                Long("timeout") => size.limit = Duration::from_secs(args.value()?.parse()?),
                Long("memory") => size.memory_mib = args.value()?.parse()?,
                Long("cpus") => size.cpus = args.value()?.parse()?,
                Long("as-is") => is_as_is = true,
                // The first word after the options, or `--`: the rest is the command's.
                Value(word) => {
                    command.push(word.string()?);
                    for word in args.raw_args()? {
                        command.push(word.string()?);
                    }
                }
                _ => return Err(arg.unexpected().into()),
            }
        }
        let Some(line) = line else { bail!("failed to choose a kernel\nsay --kernel 6.12, for example") };
        if command.is_empty() {
            bail!("failed to find a command to run\nsay it after `--`");
        }
        Ok(Self { line, size, is_as_is, command })
    }
}

/// Gives the command's own exit code.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !options.is_as_is {
        setup::run(Goal::Tests, &BUILD)?;
    }
    let kernel = kernel(options.line, Processor::OWN)?;
    let dir = std::env::current_dir().context("failed to find the current directory")?;
    let archive = archive(&kernel, &dir, &options.command)?;
    let code = boot(&kernel, &archive, &options.size, std::io::stdout(), std::io::stderr())?;
    Ok(ExitCode::from(code))
}

/// A kernel with all that is needed to boot it.
pub(crate) fn kernel(line: Line, processor: Processor) -> Result<Kernel> {
    let board = Board::new(&paths::make_cache()?)?;
    let mut packages: Vec<&str> = PROGRAMS
        .into_iter()
        .chain([(processor.qemu(), processor.package())])
        .filter(|(program, _)| paths::find_program(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !std::path::Path::new(apt::KEYRING).exists() {
        packages.push("debian-archive-keyring");
    }
    if !packages.is_empty() {
        exec::authenticate(&format!("to install {}", packages.join(", ")))?;
    }
    setup::watched(&board, || {
        setup::install(&board, &packages)?;
        fetch::ensure(&board, line, processor)
    })
}
