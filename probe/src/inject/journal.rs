//! What was changed on this machine, written down before each change: who takes it back after a crash reads it here.
//!
//! One file per device; its lock is held by the injector that lives, and the kernel lets it go with the process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Where journals are kept: gone with the next boot, as what they tell of is.
pub const FOLDER: &str = "/run/probe";

/// One device's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The process that injects.
    pub pid: u32,
    /// Inode of the network namespace.
    pub netns: u64,
    /// Device.
    pub index: u32,
    /// Its name.
    pub device: String,
    /// In words, for `show`.
    pub what: Vec<String>,
    /// In the order in which they were made.
    pub changes: Vec<Change>,
}

/// A change, with what it takes to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Our root queueing discipline.
    Root {
        /// What the user had there.
        replaced: Option<Saved>,
    },
    /// Largest packet.
    Mtu {
        /// Before.
        old: u32,
        /// Now.
        new: u32,
    },
    /// The discipline that holds filters.
    Clsact,
    /// Filters of ours that come in or go out.
    Filters {
        /// Where they hang.
        parent: u32,
    },
    /// A device of ours.
    Between {
        /// Its name.
        name: String,
    },
}

/// A queueing discipline of the user's, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// `tbf`, `fq` …
    pub kind: String,
    /// Its handle.
    pub handle: u32,
    /// Its raw options.
    pub options: Option<Vec<u8>>,
}

/// A journal that is locked by us.
#[derive(Debug)]
pub struct Journal {
    file: Flock<File>,
    path: PathBuf,
    /// What stands in it.
    pub entry: Entry,
}

/// The file for a device.
pub fn path(folder: &Path, netns: u64, index: u32) -> PathBuf {
    folder.join(format!("net-{netns}-{index}.json"))
}

impl Journal {
    /// Opens and locks a device's journal, with what a dead injector left in it; none when a living one holds it.
    pub fn open(folder: &Path, netns: u64, index: u32) -> Result<Option<Self>> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("failed to make the folder `{}`", folder.display()))?;
        Self::lock(&path(folder, netns, index), true)
    }

    /// Locks a journal that is there already; none when there is none, or a living injector holds it.
    pub fn existing(path: &Path) -> Result<Option<Self>> {
        if path.exists() { Self::lock(path, false) } else { Ok(None) }
    }

    fn lock(path: &Path, create: bool) -> Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(create)
                .truncate(false)
                .mode(0o600)
                .open(path);
            let file = match file {
                Err(error) if !create && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                file => file.with_context(|| format!("failed to open the journal `{}`", path.display()))?,
            };
            let Ok(mut file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
            // Whoever held it may have removed it meanwhile.
            let is_same =
                fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino()));
            if !is_same {
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text)
                .with_context(|| format!("failed to read the journal `{}`", path.display()))?;
            let entry = if text.trim().is_empty() {
                Entry::default()
            } else {
                serde_json::from_str(&text)
                    .with_context(|| format!("failed to understand the journal `{}`", path.display()))?
            };
            return Ok(Some(Self { file, path: path.to_owned(), entry }));
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a change that is about to be made.
    pub fn note(&mut self, change: Change) -> Result<()> {
        self.entry.changes.push(change);
        self.save()
    }

    /// Writes it down for good.
    pub fn save(&mut self) -> Result<()> {
        let text = serde_json::to_vec(&self.entry).context("failed to write the journal")?;
        let mut write = || -> std::io::Result<()> {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.set_len(0)?;
            self.file.write_all(&text)?;
            self.file.sync_data()
        };
        write().with_context(|| format!("failed to write the journal `{}`", self.path.display()))
    }

    /// Everything has been undone.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path)
            .with_context(|| format!("failed to remove the journal `{}`", self.path.display()))
    }
}

/// All journals of a folder, living or dead, as far as they can be read.
pub fn all(folder: &Path) -> Vec<(PathBuf, Entry)> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| {
            let entry = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
            Some((path, entry))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_injector_keeps_others_out_and_a_dead_one_leaves_its_notes() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), 7, 1).unwrap().unwrap();
        assert!(Journal::open(folder.path(), 7, 1).unwrap().is_none());
        assert!(Journal::open(folder.path(), 7, 2).unwrap().is_some(), "another device");
        let saved = Saved { kind: "tbf".to_owned(), handle: 0x10000, options: Some(vec![1, 2]) };
        journal.note(Change::Root { replaced: Some(saved) }).unwrap();
        journal.note(Change::Mtu { old: 65536, new: 1500 }).unwrap();
        let expected = journal.entry.clone();
        drop(journal);
        let journal = Journal::existing(&path(folder.path(), 7, 1)).unwrap().unwrap();
        assert_eq!(journal.entry, expected);
        assert_eq!(all(folder.path()).len(), 1, "the other one is empty");
        journal.remove().unwrap();
        assert!(Journal::existing(&path(folder.path(), 7, 1)).unwrap().is_none());
    }
}
