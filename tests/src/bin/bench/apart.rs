//! A processor for the server alone, so that neither the load nor the agent runs on it: what stays is what the kernel programs
//! cost the server itself.

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// What was started apart; everything else of ours may run everywhere again once it is dropped.
pub(crate) struct Apart<T> {
    pub(crate) server: T,
    everywhere: CpuSet,
}

/// Starts something on the last of our processors; until it is dropped, this thread and all that it starts have the
/// others. Where there is one processor, they share it.
pub(crate) fn apart<T>(start: impl FnOnce() -> Result<T>) -> Result<Apart<T>> {
    let everywhere = sched_getaffinity(SELF).context("failed to ask for our processors")?;
    let (own, others) = split(&everywhere)?;
    allow(&own)?;
    let started = start();
    allow(&others)?;
    match started {
        Ok(server) => Ok(Apart { server, everywhere }),
        Err(error) => allow(&everywhere).and(Err(error)),
    }
}

impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        // It was allowed before; at worst what follows is measured on fewer processors.
        let _restored = allow(&self.everywhere);
    }
}

const SELF: Pid = Pid::from_raw(0);

fn allow(processors: &CpuSet) -> Result<()> {
    sched_setaffinity(SELF, processors).context("failed to choose processors")
}

/// The last one of some processors, and the others.
fn split(processors: &CpuSet) -> Result<(CpuSet, CpuSet)> {
    let is_ours = |processor: &usize| processors.is_set(*processor).unwrap_or(false);
    let last = (0..CpuSet::count()).rev().find(is_ours).context("no processor is ours")?;
    let (mut own, mut others) = (CpuSet::new(), *processors);
    own.set(last)?;
    others.unset(last)?;
    Ok((own, if others == CpuSet::new() { own } else { others }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for processor in processors {
            set.set(*processor).unwrap();
        }
        set
    }

    #[test]
    fn the_last_processor_is_the_servers() {
        assert_eq!(split(&set(&[0, 2, 5])).unwrap(), (set(&[5]), set(&[0, 2])));
        assert_eq!(split(&set(&[3])).unwrap(), (set(&[3]), set(&[3])));
        assert!(split(&set(&[])).is_err());
    }
}
