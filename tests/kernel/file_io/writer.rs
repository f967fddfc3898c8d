//! The writer of checkpoints, `writer.py`, and its log.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use probe_tests::{server::python, wait};
use serde::Deserialize;

/// Folders that the writer expects.
const FOLDERS: [&str; 6] = ["uploads", "checkpoints", "shared", "jobs", "one", "real"];
/// A whole run, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(3);

/// A line of its log.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) doc: String,
    /// 0 is the document's own file, -1 the end of all.
    pub(crate) stage: i32,
    pub(crate) name: String,
    /// Before the call that began it.
    pub(crate) began: u64,
    /// Behind it.
    pub(crate) begun: u64,
    /// Before the call that put its checkpoint in place.
    pub(crate) placing: u64,
    /// Behind it.
    pub(crate) end: u64,
    pub(crate) bytes: u64,
}

/// The running writer.
pub(crate) struct Writer {
    child: Child,
    stdin: ChildStdin,
    home: tempfile::TempDir,
}

impl Writer {
    /// Starts it; it waits before its first file.
    pub(crate) fn start(layout: &str, documents: u32, threads: u32) -> Result<Self> {
        let home = tempfile::tempdir().context("failed to make a folder")?;
        for folder in FOLDERS {
            fs::create_dir(home.path().join(folder))?;
        }
        std::os::unix::fs::symlink("real", home.path().join("link"))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/file_io/writer.py");
        let mut child = Command::new(python()?)
            .arg(script)
            .arg(layout)
            .arg(home.path())
            .args([documents.to_string(), threads.to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::from(fs::File::create(home.path().join("stderr"))?))
            .spawn()
            .context("failed to start the writer")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let writer = Self { child, stdin, home };
        wait::until("the writer's start", wait::SOON, || {
            Ok(writer.home.path().join("older.bin").exists().then_some(()))
        })?;
        Ok(writer)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Lets it write everything, and reads its log.
    pub(crate) fn run(&mut self) -> Result<Vec<Line>> {
        self.stdin.write_all(b"go\n")?;
        let path = self.home.path().join("log.jsonl");
        wait::until("the end of the writer's work", PATIENCE, || {
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(self.home.path().join("stderr"))?;
                bail!("the writer ended ({status}): {said}");
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            if !text.contains("\"stage\": -1") {
                return Ok(None);
            }
            let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
            Ok(Some(lines.context("failed to read the writer's log")?))
        })
    }

    /// Every file below a folder, with its size.
    pub(crate) fn files(&self, folder: &str) -> Result<BTreeMap<PathBuf, u64>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    found.insert(entry.path(), metadata.len());
                }
            }
        }
        ensure!(!found.is_empty(), "no file in {folder}");
        Ok(found)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
