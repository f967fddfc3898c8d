//! The numbers of one GPU.

use std::collections::BTreeMap;

use super::overlap::{OverlapStats, Overlaps};
use super::spread::Spread;
use super::within::Within;
use crate::aggregate::endpoint::EndpointIndex;
use crate::correlate::{GpuTimeline, Overlap};
use crate::event::{Busy, GpuCounters, GpuDevice, GpuLook, GpuProcess, GpuSlow, Throttle};

/// Processes of the tree that are told apart; more share an entry.
const MAX_PROCESSES: usize = 128;
/// The entry that they share.
const OTHER_PID: u32 = 0;
/// Instances that a GPU can be divided into: seven, and room.
const MAX_INSTANCES: usize = 16;

const MIB: u64 = 1 << 20;
const PERCENT: f64 = 0.01;
const UJ_PER_J: f64 = 1e6;

/// What was read of one GPU over a run.
#[derive(Clone, Debug)]
pub struct GpuStats {
    /// What it is.
    pub device: Option<GpuDevice>,
    /// Share of time in which a kernel ran, by time.
    pub util: Spread,
    /// Share of time in which its memory was read or written, by reading.
    pub memory_util: Spread,
    /// Bytes in use, by reading.
    pub memory: Spread,
    /// Watts, by reading.
    pub power: Spread,
    /// °C, by reading.
    pub temperature: Spread,
    /// MHz of its processors, by reading.
    pub sm_clock: Spread,
    /// MHz of its memory, by reading.
    pub memory_clock: Spread,
    /// Bytes per second sent over PCIe, by reading.
    pub pcie_tx: Spread,
    /// Bytes per second received over PCIe, by reading.
    pub pcie_rx: Spread,
    /// Utilisation of the encoder, by reading.
    pub encoder: Spread,
    /// Utilisation of the decoder, by reading.
    pub decoder: Spread,
    /// Nanoseconds for which each reason held its clocks down, from each look to the next.
    pub throttle_ns: BTreeMap<Throttle, u64>,
    /// Nanoseconds with any reason that is a slowdown.
    pub slowdown_ns: u64,
    /// Nanoseconds for which the reasons were known.
    pub throttle_known_ns: u64,
    /// Processes of the tree.
    pub processes: BTreeMap<u32, ProcessStats>,
    /// All others together; none when there was none.
    pub others: Option<ProcessStats>,
    /// Nanoseconds for which it is known what processes did.
    pub processes_known_ns: u64,
    /// Instances by index.
    pub instances: BTreeMap<u32, InstanceStats>,
    /// When it was lost.
    pub lost_ns: Option<u64>,
    /// Documents that were finished meanwhile.
    pub documents: u64,
    pub(super) within: Within,
    pub(super) endpoints: Overlaps,
    timeline: GpuTimeline,
    throttled: Option<(u64, Vec<Throttle>)>,
    slow_ns: Option<u64>,
    counters: Option<(GpuCounters, GpuCounters)>,
}

/// A process, or several, on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStats {
    /// Percent times nanoseconds of the processors' time; none where the driver does not tell.
    pub sm: Option<u128>,
    /// Most memory at a time.
    pub memory_bytes: Option<u64>,
    /// Instance in which it ran last.
    pub instance: Option<u32>,
}

/// An instance of a GPU.
#[derive(Clone, Debug)]
pub struct InstanceStats {
    /// `MIG-…`
    pub uuid: Option<String>,
    /// Its size.
    pub memory_total_bytes: u64,
    /// Bytes in use, by reading.
    pub memory: Spread,
}

impl GpuStats {
    /// Nothing counted yet; only what lies in this time will be.
    pub(super) fn new(within: Within) -> Self {
        Self {
            device: None,
            util: Spread::new(1, PERCENT),
            memory_util: Spread::new(1, PERCENT),
            memory: Spread::new(MIB, 1.0),
            power: Spread::new(100, 1e-3),
            temperature: Spread::new(1, 1.0),
            sm_clock: Spread::new(1, 1.0),
            memory_clock: Spread::new(1, 1.0),
            pcie_tx: Spread::new(1024, 1024.0),
            pcie_rx: Spread::new(1024, 1024.0),
            encoder: Spread::new(1, PERCENT),
            decoder: Spread::new(1, PERCENT),
            throttle_ns: BTreeMap::new(),
            slowdown_ns: 0,
            throttle_known_ns: 0,
            processes: BTreeMap::new(),
            others: None,
            processes_known_ns: 0,
            instances: BTreeMap::new(),
            lost_ns: None,
            documents: 0,
            within,
            endpoints: Overlaps::NONE,
            timeline: GpuTimeline::default(),
            throttled: None,
            slow_ns: None,
            counters: None,
        }
    }
}

fn add(spread: &mut Spread, value: Option<impl Into<u64>>) {
    if let Some(value) = value {
        spread.add(value.into(), 1);
    }
}

impl GpuStats {
    /// The same GPU with nothing counted yet, where it stands.
    pub(super) fn after(&self, within: Within) -> Self {
        Self {
            device: self.device.clone(),
            timeline: self.timeline.after(),
            throttled: self.throttled.clone(),
            slow_ns: self.slow_ns,
            counters: self.counters.map(|(_, last)| (last, last)),
            lost_ns: self.lost_ns,
            ..Self::new(within)
        }
    }

    pub(super) fn look(&mut self, look: &GpuLook) {
        self.timeline.add(look);
        for Busy(from_ns, to_ns, percent) in &look.busy {
            let held_ns = self.within.part_ns(*from_ns, *to_ns);
            if held_ns > 0 {
                self.util.add(u64::from(*percent).min(100), held_ns);
            }
        }
        if self.within.holds(look.ts_ns) {
            add(&mut self.memory_util, look.memory_busy);
            add(&mut self.memory, look.memory_bytes);
            add(&mut self.power, look.power_mw);
        }
        if let Some((since_ns, reasons)) = self.throttled.take() {
            let held_ns = self.within.part_ns(since_ns, look.ts_ns);
            self.throttle_known_ns = self.throttle_known_ns.saturating_add(held_ns);
            if reasons.iter().any(|reason| reason.is_slowdown()) {
                self.slowdown_ns = self.slowdown_ns.saturating_add(held_ns);
            }
            for reason in reasons {
                let sum = self.throttle_ns.entry(reason).or_default();
                *sum = sum.saturating_add(held_ns);
            }
        }
        self.throttled = look.throttle.clone().map(|mut reasons| {
            reasons.sort_unstable();
            reasons.dedup();
            (look.ts_ns, reasons)
        });
    }

    pub(super) fn slow(&mut self, slow: &GpuSlow) {
        let since_ns = self.slow_ns.replace(slow.ts_ns).unwrap_or(slow.ts_ns);
        let held_ns = self.within.part_ns(since_ns, slow.ts_ns);
        let is_within = self.within.holds(slow.ts_ns);
        if is_within || held_ns > 0 {
            self.processes(&slow.processes, held_ns);
        }
        if !is_within {
            return;
        }
        add(&mut self.temperature, slow.temperature_c);
        add(&mut self.sm_clock, slow.sm_mhz);
        add(&mut self.memory_clock, slow.memory_mhz);
        add(&mut self.pcie_tx, slow.pcie_tx_kib_s);
        add(&mut self.pcie_rx, slow.pcie_rx_kib_s);
        add(&mut self.encoder, slow.encoder);
        add(&mut self.decoder, slow.decoder);
        for instance in &slow.instances {
            if self.instances.len() >= MAX_INSTANCES && !self.instances.contains_key(&instance.index) {
                continue;
            }
            let stats = self.instances.entry(instance.index).or_insert_with(|| InstanceStats {
                uuid: None,
                memory_total_bytes: 0,
                memory: Spread::new(MIB, 1.0),
            });
            stats.uuid.clone_from(&instance.uuid);
            stats.memory_total_bytes = instance.memory_total_bytes;
            stats.memory.add(instance.memory_bytes, 1);
        }
    }

    /// `held_ns` is the time since the processes were last looked at: what their utilisation speaks of.
    fn processes(&mut self, processes: &[GpuProcess], held_ns: u64) {
        let mut others_bytes = None;
        for process in processes {
            let stats = if process.is_traced {
                let is_known =
                    self.processes.len() < MAX_PROCESSES || self.processes.contains_key(&process.pid);
                let stats = self.processes.entry(if is_known { process.pid } else { OTHER_PID }).or_default();
                stats.memory_bytes = stats.memory_bytes.max(process.memory_bytes);
                stats.instance = process.instance;
                stats
            } else {
                let sum = others_bytes.get_or_insert(0u64);
                *sum = sum.saturating_add(process.memory_bytes.unwrap_or(0));
                self.others.get_or_insert_default()
            };
            if let Some(percent) = process.sm {
                let used = u128::from(percent.min(100)) * u128::from(held_ns);
                stats.sm = Some(stats.sm.unwrap_or(0).saturating_add(used));
            }
        }
        if let Some(others) = &mut self.others {
            others.memory_bytes = others.memory_bytes.max(others_bytes);
        }
        // A process that is not named did nothing in that time.
        self.processes_known_ns = self.processes_known_ns.saturating_add(held_ns);
    }

    pub(super) fn counters(&mut self, counters: &GpuCounters) {
        let first = self.counters.map_or(*counters, |(first, _)| first);
        self.counters = Some((first, *counters));
    }

    /// What it did in all the time that is known.
    pub fn whole(&self) -> Overlap {
        self.timeline.over(self.within.from_ns, self.within.until_ns)
    }

    /// What it did from one moment to another.
    pub fn over(&self, from_ns: u64, to_ns: u64) -> Overlap {
        self.timeline.over(from_ns, to_ns)
    }

    /// Energy was made of power readings.
    pub const fn is_energy_estimated(&self) -> bool {
        self.timeline.is_energy_estimated()
    }

    /// Joules for each document that was finished meanwhile; none where there was none, or where it does not tell.
    pub fn energy_per_document_j(&self) -> Option<f64> {
        let energy_uj = self.whole().energy_uj.filter(|_| self.documents > 0)?;
        Some(energy_uj as f64 / UJ_PER_J / self.documents as f64)
    }

    /// Share of the time with a reason that slows work down; none where it does not tell.
    pub fn slowdown_ratio(&self) -> Option<f64> {
        (self.throttle_known_ns > 0).then(|| self.slowdown_ns as f64 / self.throttle_known_ns as f64)
    }

    /// What a counter grew by during the run; none where it was not read.
    pub fn grown(&self, counter: impl Fn(&GpuCounters) -> Option<u64>) -> Option<u64> {
        let (first, last) = self.counters.as_ref()?;
        Some(counter(last)?.saturating_sub(counter(first)?))
    }

    /// What it did while requests were in the application, by the endpoint's index; only those with requests.
    pub(in crate::aggregate) fn endpoints(&self) -> impl Iterator<Item = (EndpointIndex, &OverlapStats)> {
        self.endpoints.each()
    }
}
