//! `cargo xtask cross`: both sides compiled for arm64, without linking: that the registers are behind one file, and nothing
//! else knows the processor. With `--boot` they are also linked, and run on an emulated machine.

mod boot;
mod findings;

use anyhow::{Result, bail};

use crate::exec;
use crate::say::say;
use crate::setup::{self, Goal};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str =
    "      --boot           link it too, and watch a server on an emulated arm64 machine\n";

/// What a call asks for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    boots: bool,
}

impl Options {
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("boot") => options.boots = true,
                _ => return Err(arg.unexpected().into()),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(options: Options) -> Result<()> {
    setup::run(Goal::Demo, &[])?;
    // probe's build script compiles the kernel side for the same processor.
    if options.boots {
        // What is linked has been checked.
        return boot::run();
    }
    ensure_library(TARGET)?;
    exec::exec(exec::cargo().args(["check", "--package", "probe", "--target", TARGET]))?;
    say!("cross: both sides compile for {TARGET}");
    Ok(())
}

/// Rust's own library for a target.
fn ensure_library(target: &str) -> Result<()> {
    match exec::capture(exec::command("rustup").args(["target", "list", "--installed"])) {
        Ok(installed) if installed.lines().any(|line| line == target) => Ok(()),
        Ok(_) => exec::exec(exec::command("rustup").args(["target", "add", target])),
        Err(error) => bail!("failed to find the library for {target}\nit comes with rustup: {error:#}"),
    }
}
