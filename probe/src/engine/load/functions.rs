//! Probes on functions: placed one by one during a run, and taken away together.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use aya::programs::{UProbe, uprobe::UProbeScope};

use super::{Kernel, verifier_says};

impl Kernel {
    /// Puts a program on an instruction of a file, for the processes of this scope, until this is dropped.
    pub fn attach_function(
        &mut self,
        name: &str,
        file: &Path,
        offset: u64,
        scope: UProbeScope,
    ) -> Result<()> {
        let program: &mut UProbe = self
            .ebpf
            .program_mut(name)
            .ok_or_else(|| anyhow!("the object has no such program"))?
            .try_into()?;
        if program.fd().is_err() {
            // Only now: most targets have no use for it, and the verifier's work is part of every attach.
            program.load().map_err(verifier_says)?;
        }
        let link = program.attach(offset, file, scope)?;
        self.on_functions.push((name.to_owned(), link));
        Ok(())
    }

    /// Takes these programs from all functions. They stay loaded, since what they cost and lost still counts.
    pub(in crate::engine) fn detach_functions(&mut self, programs: &[&str]) -> Result<()> {
        let links = self.on_functions.extract_if(.., |(name, _)| programs.contains(&name.as_str()));
        for (name, link) in links {
            let program: &mut UProbe =
                self.ebpf.program_mut(&name).context("the object has no such program")?.try_into()?;
            program.detach(link).with_context(|| format!("failed to detach `{name}`"))?;
        }
        Ok(())
    }

    /// Takes all threads out of SQLite: no probe is left that would see them leave it.
    pub(in crate::engine) fn forget_statements(&mut self) {
        let threads: Vec<u32> = self.sqlite_inside.keys().filter_map(std::result::Result::ok).collect();
        for thread in threads {
            // Gone already: it had to make room.
            let _ = self.sqlite_inside.remove(&thread);
        }
    }
}
