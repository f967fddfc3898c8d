//! One GPU and one look at it. Each figure is asked for on its own; one that this GPU does not have is asked for once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, PcieUtilCounter, Sampling, TemperatureSensor, TemperatureThreshold,
};
use nvml_wrapper::enum_wrappers::nv_link::ErrorCounter;
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;

use super::fault::{Fault, fault};
use super::gaps::Figure;
use super::sampler::Shared;
use super::times::{Now, Samples};
use crate::event::{Busy, GpuCounters, GpuDevice, GpuInstance, GpuLook, GpuProcess, GpuSlow, Throttle};

/// NVLink lanes of the largest GPU (`NVML_NVLINK_MAX_LINKS`).
const MAX_LINKS: u32 = 18;
const NVLINK_ERRORS: [ErrorCounter; 4] =
    [ErrorCounter::DlReplay, ErrorCounter::DlRecovery, ErrorCounter::DlCrcFlit, ErrorCounter::DlCrcData];
/// NVML's names, in the order of its bits.
const THROTTLES: [(ThrottleReasons, Throttle); 9] = [
    (ThrottleReasons::GPU_IDLE, Throttle::GpuIdle),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, Throttle::ApplicationsClocks),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, Throttle::DisplayClocks),
    (ThrottleReasons::SW_POWER_CAP, Throttle::SwPowerCap),
    (ThrottleReasons::HW_SLOWDOWN, Throttle::HwSlowdown),
    (ThrottleReasons::SYNC_BOOST, Throttle::SyncBoost),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, Throttle::SwThermal),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, Throttle::HwThermal),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, Throttle::HwPowerBrake),
];

/// One GPU while it is watched.
pub(super) struct Watched<'n> {
    gpu: u32,
    device: Device<'n>,
    shared: Arc<Shared>,
    /// Figures that it does not have.
    off: BTreeSet<Figure>,
    samples: Samples,
    /// The look before, for figures that the driver gives no time for.
    looked_ns: Option<u64>,
    /// Stamp of the newest utilisation by process; none before the first look.
    processes_us: Option<u64>,
    /// Lanes that exist, and are asked for their errors.
    links: Vec<u32>,
    is_mig: bool,
    /// Why nothing more will come; set once.
    lost: Option<NvmlError>,
}

impl<'n> Watched<'n> {
    pub(super) fn new(gpu: u32, device: Device<'n>, shared: Arc<Shared>) -> Self {
        Self {
            gpu,
            device,
            shared,
            off: BTreeSet::new(),
            samples: Samples::default(),
            looked_ns: None,
            processes_us: None,
            links: Vec::new(),
            is_mig: false,
            lost: None,
        }
    }

    pub(super) const fn gpu(&self) -> u32 {
        self.gpu
    }

    /// The error with which it stopped to answer.
    pub(super) const fn lost(&self) -> Option<&NvmlError> {
        self.lost.as_ref()
    }

    /// What does not change.
    pub(super) fn describe(&mut self, driver: Option<String>) -> GpuDevice {
        self.is_mig = self
            .ask(Figure::Instances, "nvmlDeviceGetMigMode", Device::mig_mode)
            .is_some_and(|mode| mode.current == 1);
        if self.is_mig {
            // Said by the driver as well, but each in its own words.
            self.off.extend([Figure::Encoder, Figure::Decoder]);
        }
        self.links = (0..MAX_LINKS)
            .filter(|&link| {
                // A lane that is not there is an error of its own kind on each GPU: it says nothing of the others.
                self.ask(Figure::NvLink, "nvmlDeviceGetNvLinkState", |device| {
                    Ok(device.link_wrapper_for(link).is_active().unwrap_or(false))
                }) == Some(true)
            })
            .collect();
        GpuDevice {
            ts_ns: Now::read().monotonic_ns,
            gpu: self.gpu,
            uuid: self.ask(Figure::Identity, "nvmlDeviceGetUUID", Device::uuid),
            name: self.ask(Figure::Identity, "nvmlDeviceGetName", Device::name),
            driver,
            memory_total_bytes: self
                .ask(Figure::Memory, "nvmlDeviceGetMemoryInfo_v2", Device::memory_info)
                .map(|memory| memory.total),
            power_limit_mw: self.ask(
                Figure::Limits,
                "nvmlDeviceGetEnforcedPowerLimit",
                Device::enforced_power_limit,
            ),
            slowdown_c: self.ask(Figure::Limits, "nvmlDeviceGetTemperatureThreshold", |device| {
                device.temperature_threshold(TemperatureThreshold::Slowdown)
            }),
            is_mig: self.is_mig,
        }
    }

    /// What changes quickly.
    pub(super) fn look(&mut self) -> GpuLook {
        let now = Now::read();
        let rates = self.ask(Figure::Utilisation, "nvmlDeviceGetUtilizationRates", Device::utilization_rates);
        let busy = self.busy(now, rates.as_ref().map(|rates| rates.gpu));
        let look = GpuLook {
            ts_ns: now.monotonic_ns,
            gpu: self.gpu,
            took_ns: 0,
            busy,
            memory_busy: rates.map(|rates| percent(rates.memory)),
            memory_bytes: self
                .ask(Figure::Memory, "nvmlDeviceGetMemoryInfo_v2", Device::memory_info)
                .map(|memory| memory.used),
            power_mw: self.ask(Figure::Power, "nvmlDeviceGetPowerUsage", Device::power_usage),
            energy_mj: self.ask(
                Figure::Energy,
                "nvmlDeviceGetTotalEnergyConsumption",
                Device::total_energy_consumption,
            ),
            throttle: self
                .ask(
                    Figure::Throttle,
                    "nvmlDeviceGetCurrentClocksThrottleReasons",
                    Device::current_throttle_reasons,
                )
                .map(|bits| {
                    let set = THROTTLES.into_iter().filter(|(bit, _)| bits.contains(*bit));
                    set.map(|(_, reason)| reason).collect()
                }),
        };
        self.looked_ns = Some(now.monotonic_ns);
        look
    }

    /// The driver's own samples, which miss no burst; where it keeps none, its last figure for the time since the
    /// look before.
    fn busy(&mut self, now: Now, rate: Option<u32>) -> Vec<Busy> {
        let last_us = self.samples.last_us;
        let samples = self.ask(Figure::Samples, "nvmlDeviceGetSamples", |device| {
            device.samples(Sampling::GpuUtilization, last_us)
        });
        if !self.off.contains(&Figure::Samples) {
            let samples: Vec<(u64, u8)> = samples
                .unwrap_or_default()
                .into_iter()
                .map(|sample| (sample.timestamp, percent_of(&sample.value)))
                .collect();
            return self.samples.take(&samples, now);
        }
        match (self.looked_ns, rate) {
            (Some(looked_ns), Some(rate)) if looked_ns < now.monotonic_ns => {
                vec![Busy(looked_ns, now.monotonic_ns, percent(rate))]
            }
            _ => Vec::new(),
        }
    }

    /// What changes slowly. PCIe throughput is measured by the driver while we wait, 20 ms for each direction, which
    /// the end of a run has no time for.
    pub(super) fn slow(&mut self, is_last: bool) -> GpuSlow {
        let mut pcie = |counter| {
            let ask = |device: &Device<'n>| device.pcie_throughput(counter);
            (!is_last).then(|| self.ask(Figure::Pcie, "nvmlDeviceGetPcieThroughput", ask)).flatten()
        };
        let (pcie_tx_kib_s, pcie_rx_kib_s) = (pcie(PcieUtilCounter::Send), pcie(PcieUtilCounter::Receive));
        let temperature = |device: &Device<'n>| device.temperature(TemperatureSensor::Gpu);
        GpuSlow {
            ts_ns: Now::read().monotonic_ns,
            gpu: self.gpu,
            temperature_c: self.ask(Figure::Temperature, "nvmlDeviceGetTemperature", temperature),
            sm_mhz: self
                .ask(Figure::SmClock, "nvmlDeviceGetClockInfo", |device| device.clock_info(Clock::SM)),
            memory_mhz: self.ask(Figure::MemoryClock, "nvmlDeviceGetClockInfo", |device| {
                device.clock_info(Clock::Memory)
            }),
            pcie_tx_kib_s,
            pcie_rx_kib_s,
            encoder: self
                .ask(Figure::Encoder, "nvmlDeviceGetEncoderUtilization", Device::encoder_utilization)
                .map(|encoder| percent(encoder.utilization)),
            decoder: self
                .ask(Figure::Decoder, "nvmlDeviceGetDecoderUtilization", Device::decoder_utilization)
                .map(|decoder| percent(decoder.utilization)),
            processes: self.processes(),
            instances: self.instances(),
        }
    }

    fn processes(&mut self) -> Vec<GpuProcess> {
        let mut found: BTreeMap<u32, GpuProcess> = BTreeMap::new();
        let compute = self.ask(
            Figure::Processes,
            "nvmlDeviceGetComputeRunningProcesses_v3",
            Device::running_compute_processes,
        );
        let graphics = self.ask(
            Figure::Processes,
            "nvmlDeviceGetGraphicsRunningProcesses_v3",
            Device::running_graphics_processes,
        );
        for process in compute.into_iter().chain(graphics).flatten() {
            let entry = found.entry(process.pid).or_insert(GpuProcess {
                pid: process.pid,
                instance: process.gpu_instance_id,
                ..GpuProcess::default()
            });
            if let UsedGpuMemory::Used(bytes) = process.used_gpu_memory {
                // One that computes and draws stands in both lists with all of its memory.
                entry.memory_bytes = Some(entry.memory_bytes.map_or(bytes, |known| known.max(bytes)));
            }
        }
        let last_us = self.processes_us.unwrap_or(0);
        let used = self.ask(Figure::ProcessUtilisation, "nvmlDeviceGetProcessUtilization", |device| {
            device.process_utilization_stats(last_us)
        });
        let used = used.unwrap_or_default();
        let newest_us = used.iter().map(|sample| sample.timestamp).fold(last_us, u64::max);
        // The first answer tells of the time before the run.
        if self.processes_us.replace(newest_us).is_some() && !self.off.contains(&Figure::ProcessUtilisation) {
            let mut shares: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
            for sample in used.iter().filter(|sample| sample.timestamp > last_us) {
                let (sum, n) = shares.entry(sample.pid).or_default();
                (*sum, *n) = (*sum + u64::from(sample.sm_util.min(100)), *n + 1);
                found.entry(sample.pid).or_insert(GpuProcess { pid: sample.pid, ..GpuProcess::default() });
            }
            for process in found.values_mut() {
                // Not named by the driver: it did nothing.
                let (sum, n) = shares.get(&process.pid).copied().unwrap_or((0, 1));
                process.sm = u8::try_from(sum / n).ok();
            }
        }
        found.into_values().collect()
    }

    fn instances(&mut self) -> Vec<GpuInstance> {
        if !self.is_mig {
            return Vec::new();
        }
        let count = self.ask(Figure::Instances, "nvmlDeviceGetMaxMigDeviceCount", Device::mig_device_count);
        let mut found = Vec::new();
        for index in 0..count.unwrap_or(0) {
            let instance = self.ask(Figure::Instances, "nvmlDeviceGetMigDeviceHandleByIndex", |device| {
                // A place that holds no instance is not found.
                let instance = device.mig_device_by_index(index)?;
                let memory = instance.memory_info()?;
                Ok(GpuInstance {
                    index,
                    uuid: instance.uuid().ok(),
                    memory_bytes: memory.used,
                    memory_total_bytes: memory.total,
                })
            });
            found.extend(instance);
        }
        found
    }

    /// What hardly ever moves.
    pub(super) fn counters(&mut self) -> GpuCounters {
        let mut ecc = |kind| {
            self.ask(Figure::Ecc, "nvmlDeviceGetTotalEccErrors", |device| {
                device.total_ecc_errors(kind, EccCounter::Volatile)
            })
        };
        let (ecc_corrected, ecc_uncorrected) = (ecc(MemoryError::Corrected), ecc(MemoryError::Uncorrected));
        let mut nvlink_errors = None;
        for link in self.links.clone() {
            for counter in NVLINK_ERRORS {
                let errors = self.ask(Figure::NvLink, "nvmlDeviceGetNvLinkErrorCounter", |device| {
                    device.link_wrapper_for(link).error_counter(counter)
                });
                nvlink_errors = errors
                    .map(|errors| nvlink_errors.unwrap_or(0u64).saturating_add(errors))
                    .or(nvlink_errors);
            }
        }
        GpuCounters {
            ts_ns: Now::read().monotonic_ns,
            gpu: self.gpu,
            ecc_corrected,
            ecc_uncorrected,
            nvlink_errors,
            pcie_replays: self
                .ask(Figure::PcieReplays, "nvmlDeviceGetPcieReplayCounter", Device::pcie_replay_counter)
                .map(u64::from),
        }
    }

    /// Asks the driver for a figure, unless it has said that there is none. `call` is what is shown should it never
    /// come back.
    fn ask<T>(
        &mut self,
        figure: Figure,
        call: &'static str,
        ask: impl FnOnce(&Device<'n>) -> Result<T, NvmlError>,
    ) -> Option<T> {
        if self.lost.is_some() || self.off.contains(&figure) {
            return None;
        }
        let error = match self.shared.during(call, || ask(&self.device)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        tracing::debug!(gpu = self.gpu, call, %error, "the driver refused");
        match fault(&error) {
            Fault::Nothing => {}
            Fault::Passing => self.shared.gaps(|gaps| gaps.passing(&error)),
            Fault::Figure => {
                self.off.insert(figure);
                self.shared.gaps(|gaps| gaps.figure(self.gpu, figure, &error));
            }
            Fault::Gpu | Fault::Driver => {
                self.shared.gaps(|gaps| gaps.lost(self.gpu, &error));
                self.lost = Some(error);
            }
        }
        None
    }
}

fn percent(value: u32) -> u8 {
    u8::try_from(value.min(100)).unwrap_or(100)
}

fn percent_of(value: &SampleValue) -> u8 {
    match *value {
        SampleValue::U32(value) => percent(value),
        SampleValue::U64(value) => percent(u32::try_from(value).unwrap_or(100)),
        SampleValue::I64(value) => percent(u32::try_from(value.clamp(0, 100)).unwrap_or(0)),
        // Saturates, and a NaN is 0.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
        SampleValue::F64(value) => value.clamp(0.0, 100.0) as u8,
    }
}
