//! The kernel side's tables of requests of block devices.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray},
};
use probe_common::block::{MAX_DEVICES, RequestStats};

use super::load::take;
use crate::{event::DiskRequests, probes::block::summarize};

/// See the head of this file.
pub(super) struct BlockMaps {
    devices: HashMap<MapData, u32, u32>,
    stats: PerCpuArray<MapData, RequestStats>,
    /// Devices by slot.
    slots: Vec<u32>,
}

impl BlockMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            devices: take(ebpf, "BLOCK_DEVICES")?,
            stats: take(ebpf, "BLOCK_STATS")?,
            slots: Vec::new(),
        })
    }

    /// Counts the requests of these devices from now on; the first ones, where there are more than room for.
    pub(super) fn watch(&mut self, devices: impl Iterator<Item = u32>) -> Result<()> {
        for (slot, device) in (0u32..).zip(devices.take(MAX_DEVICES)) {
            self.slots.push(device);
            self.devices.insert(device, slot, 0).context("failed to note a block device")?;
        }
        Ok(())
    }

    /// What the requests of a device were so far; nothing where it is not watched.
    pub(super) fn requests(&self, device: u32) -> Result<Vec<DiskRequests>> {
        let Some(slot) = (0u32..).zip(&self.slots).find(|(_, known)| **known == device) else {
            return Ok(Vec::new());
        };
        summarize(slot.0, |index| self.stats.get(&index, 0).map(|cpus| cpus.to_vec()))
            .context("failed to read the statistics of block devices")
    }
}
