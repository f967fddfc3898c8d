//! The kernel side's tables of files, for the room that follows them.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray},
};
use probe_common::{
    file::FileId,
    file_io::{Class, FileOpStats, OpenFile},
    hist::Durations,
};

use super::{load::take, undisturbed::Undisturbed};
use crate::{
    event::{FileStats, Took},
    probes::file_io::{Counted, Kernel, summarize, summarize_stalls},
};

/// See the head of this file.
pub(super) struct FileMaps {
    classes: HashMap<MapData, FileId, u32>,
    open: HashMap<MapData, u64, OpenFile>,
    stats: PerCpuArray<MapData, FileOpStats>,
    stalls: PerCpuArray<MapData, Durations>,
    undisturbed: Undisturbed,
}

impl FileMaps {
    pub(super) fn take(ebpf: &mut Ebpf, undisturbed: Undisturbed) -> Result<Self> {
        Ok(Self {
            undisturbed,
            classes: take(ebpf, "FILE_CLASSES")?,
            open: take(ebpf, "OPEN_FILES")?,
            stats: take(ebpf, "FILE_OP_STATS")?,
            stalls: take(ebpf, "WRITE_STALLS")?,
        })
    }

    /// The call statistics so far, with those that were counted outside of the kernel.
    pub(super) fn stats(&self, counted: &Counted) -> Result<Vec<FileStats>> {
        summarize(counted, |index| self.stats.get(&index, 0).map(|cpus| cpus.to_vec()))
            .context("failed to read the statistics of calls on files")
    }

    /// For how long writes were held back so far.
    pub(super) fn stalls(&self) -> Result<Took> {
        let cpus = self.stalls.get(&0, 0).context("failed to read how long writes were held back")?;
        Ok(summarize_stalls(&cpus))
    }
}

impl Kernel for FileMaps {
    fn classify(&mut self, file: FileId, class: Class) {
        // A table without room drops its oldest; a file without a class has its calls sent up one by one.
        let _ = self.undisturbed.call(|| self.classes.insert(file, class as u32, 0));
    }

    fn open_file(&self, key: u64) -> Option<OpenFile> {
        self.undisturbed.call(|| self.open.get(&key, 0)).ok()
    }
}
