//! Where things are: the repository, and the cache that `setup` fills and `clean` removes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository's root: this package lies right under it. Compiled in, so that a `cargo xtask` works from any
/// directory of the tree.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// `$XDG_CACHE_HOME/probe`, by default `~/.cache/probe`. probe/build.rs and the tests look there too.
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute = |dir: &PathBuf| dir.is_absolute();
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(absolute);
    let base = base.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let Some(base) = base else { bail!("failed to find the cache directory\nset HOME or XDG_CACHE_HOME") };
    Ok(base.join("probe"))
}

/// The cache directory, which now exists.
pub(crate) fn make_cache() -> Result<PathBuf> {
    let dir = cache()?;
    make_dir(&dir)?;
    Ok(dir)
}

/// Where a built program is.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    // cargo put us into the same directory.
    let own = env::current_exe().context("failed to find the path of this program")?;
    Ok(own.with_file_name(name))
}

pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("failed to create `{}`", dir.display()))
}

/// Finds a program in PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps tcpdump and tc out of a plain user's PATH.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}
