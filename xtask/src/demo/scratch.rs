//! A directory for the demo's database, uploads, checkpoints and logs, which goes when the demo ends.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("probe-demo-{}", std::process::id()));
        // Not recursive: a directory that somebody else put there is an error, not ours to use and to remove.
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.with_context(|| format!("failed to create `{}`\nremove it if it is left over", dir.display()))?;
        Ok(Self { dir })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: the system's own sweep of the temporary directory is the second chance.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
