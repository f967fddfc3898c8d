//! A directory for the demo's database, uploads, checkpoints and logs, which goes when the demo ends.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const PREFIX: &str = "probe-demo-";

pub(super) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> Result<Self> {
        sweep();
        let dir = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
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

/// Removes what demos left that were killed: their names hold the number of a process that is gone.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: the system's own sweep of the temporary directory is the second chance.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
