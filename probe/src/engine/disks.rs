//! What the disks did during a run, from `/proc/diskstats`: the kernel counts it anyway, for every device.

use std::{collections::HashMap, fs};

use anyhow::Result;

use crate::event::{DiskLook, DiskRequests, DiskStats};

const SECTOR_BYTES: u64 = 512;

/// The counters at one moment, by major << 20 | minor.
#[derive(Clone, Debug, Default)]
pub(super) struct Disks {
    counters: HashMap<u32, DiskStats>,
}

impl Disks {
    /// Now; empty where the kernel does not say.
    pub(super) fn now() -> Self {
        Self { counters: parse(&fs::read_to_string("/proc/diskstats").unwrap_or_default()) }
    }

    /// How long these devices have been busy.
    pub(super) fn busy(&self, devices: impl Iterator<Item = u32>) -> Vec<DiskLook> {
        let known = devices.filter_map(|device| self.counters.get(&device));
        known.map(|disk| DiskLook { device: disk.device.clone(), busy_ms: disk.busy_ms }).collect()
    }

    /// All of them, the one with the most requests first.
    pub(super) fn busiest(&self) -> impl Iterator<Item = u32> {
        let mut all: Vec<_> = self.counters.iter().collect();
        all.sort_unstable_by_key(|(device, disk)| (std::cmp::Reverse(disk.reads + disk.writes), **device));
        // What a partition does stands with its disk.
        all.into_iter().map(|(device, _)| *device).filter(|device| whole_disk(*device) == *device)
    }

    /// What these devices did since then; `requests` knows those of a whole disk.
    pub(super) fn since(
        &self,
        begin: &Self,
        devices: impl Iterator<Item = u32>,
        requests: impl Fn(u32) -> Result<Vec<DiskRequests>>,
    ) -> Result<Vec<DiskStats>> {
        let nothing = DiskStats::default();
        devices
            .filter_map(|device| {
                let now = self.counters.get(&device)?;
                let then = begin.counters.get(&device).unwrap_or(&nothing);
                let requests = match requests(whole_disk(device)) {
                    Ok(requests) => requests,
                    Err(error) => return Some(Err(error)),
                };
                Some(Ok(DiskStats {
                    requests,
                    device: now.device.clone(),
                    reads: now.reads.saturating_sub(then.reads),
                    read_bytes: now.read_bytes.saturating_sub(then.read_bytes),
                    read_ms: now.read_ms.saturating_sub(then.read_ms),
                    writes: now.writes.saturating_sub(then.writes),
                    write_bytes: now.write_bytes.saturating_sub(then.write_bytes),
                    write_ms: now.write_ms.saturating_sub(then.write_ms),
                    busy_ms: now.busy_ms.saturating_sub(then.busy_ms),
                    queue_ms: now.queue_ms.saturating_sub(then.queue_ms),
                }))
            })
            .collect()
    }
}

/// The disk of a partition; any other device is its own.
fn whole_disk(device: u32) -> u32 {
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    let place = format!("/sys/dev/block/{major}:{minor}");
    let read = || {
        fs::metadata(format!("{place}/partition")).ok()?;
        let of = fs::read_to_string(format!("{place}/../dev")).ok()?;
        let (major, minor) = of.trim().split_once(':')?;
        Some(major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?)
    };
    read().unwrap_or(device)
}

/// `major minor name reads merged sectors ms writes merged sectors ms in-flight busy-ms queue-ms …` (kernel
/// documentation, admin-guide/iostats).
fn parse(diskstats: &str) -> HashMap<u32, DiskStats> {
    diskstats
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
            let device = u32::try_from(number(0)? << 20 | number(1)?).ok()?;
            let disk = DiskStats {
                device: (*fields.get(2)?).to_owned(),
                reads: number(3)?,
                read_bytes: number(5)?.saturating_mul(SECTOR_BYTES),
                read_ms: number(6)?,
                writes: number(7)?,
                write_bytes: number(9)?.saturating_mul(SECTOR_BYTES),
                write_ms: number(10)?,
                busy_ms: number(12)?,
                queue_ms: number(13)?,
                requests: Vec::new(),
            };
            Some((device, disk))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_differences() {
        let line =
            |reads: u64| format!(" 254 0 vda {reads} 1 16 30 4 2 8 50 0 60 80 0 0 0 0\n   7 0 loop0 x\n");
        let (begin, end) = (parse(&line(10)), parse(&line(12)));
        assert_eq!(begin.len(), 1);
        let begin = Disks { counters: begin };
        let none = |_: u32| Ok(Vec::new());
        let since = Disks { counters: end }.since(&begin, [254 << 20, 7 << 20].into_iter(), none).unwrap();
        assert_eq!(since.len(), 1);
        assert_eq!((since[0].device.as_str(), since[0].reads, since[0].writes), ("vda", 2, 0));
        assert_eq!(begin.counters[&(254 << 20)].read_bytes, 16 * 512);
    }
}
