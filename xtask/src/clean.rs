//! `cargo xtask clean`: removes what set-up keeps outside of the repository. Packages of apt stay.

use std::fs;

use anyhow::{Context, Result};

use crate::say::say;
use crate::{paths, vm};

/// What `--help` says about this command's options.
pub(crate) const OPTIONS: &str = "      --kernels        only the kernels of vm\n";

/// How much goes.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    Everything,
    Kernels,
}

impl Scope {
    pub(crate) fn parse(args: &mut lexopt::Parser) -> Result<Self> {
        match args.next()? {
            None => Ok(Self::Everything),
            Some(lexopt::Arg::Long("kernels")) => Ok(Self::Kernels),
            Some(other) => Err(other.unexpected().into()),
        }
    }
}

pub(crate) fn run(scope: Scope) -> Result<()> {
    let dir = match scope {
        Scope::Everything => paths::cache()?,
        Scope::Kernels => vm::cache()?,
    };
    if !dir.exists() {
        say!("clean: there is nothing at {}", dir.display());
        return Ok(());
    }
    fs::remove_dir_all(&dir).with_context(|| format!("failed to remove `{}`", dir.display()))?;
    say!("clean: removed {}", dir.display());
    Ok(())
}
