//! `cargo xtask clean`: removes what set-up keeps outside of the repository. Packages of apt stay.

use std::fs;

use anyhow::{Context, Result};

use crate::paths;
use crate::say::say;

pub(crate) fn run() -> Result<()> {
    let cache = paths::cache()?;
    if !cache.exists() {
        say!("clean: there is nothing at {}", cache.display());
        return Ok(());
    }
    fs::remove_dir_all(&cache).with_context(|| format!("failed to remove `{}`", cache.display()))?;
    say!("clean: removed {}", cache.display());
    Ok(())
}
