//! What was read of the machine's GPUs.
//!
//! A driver's figure speaks of a time *behind* the moment at which it is read. Where the driver says which time,
//! that is kept ([`Busy`]); else it is the time since the look before.

use serde::{Deserialize, Serialize};

/// See [`super::Event::Gpu`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Gpu {
    /// A GPU that is watched from now on.
    Device(GpuDevice),
    /// Figures that change quickly.
    Look(GpuLook),
    /// Figures that change slowly, or cost much to read.
    Slow(GpuSlow),
    /// Counters that hardly ever move.
    Counters(GpuCounters),
    /// A GPU that cannot be read any more.
    Lost(GpuLost),
}

impl Gpu {
    /// When it was read.
    pub const fn ts_ns(&self) -> u64 {
        match self {
            Self::Device(device) => device.ts_ns,
            Self::Look(look) => look.ts_ns,
            Self::Slow(slow) => slow.ts_ns,
            Self::Counters(counters) => counters.ts_ns,
            Self::Lost(lost) => lost.ts_ns,
        }
    }
}

/// See [`Gpu::Device`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuDevice {
    /// First moment at which it was read.
    pub ts_ns: u64,
    /// The driver's index.
    pub gpu: u32,
    /// `GPU-…`, the driver's lasting name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The product's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Memory in all, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    /// Power above which it lowers its clocks, milliwatts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_mw: Option<u32>,
    /// Temperature at which it lowers its clocks, °C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown_c: Option<u32>,
    /// It is divided into instances (MIG).
    #[serde(default)]
    pub is_mig: bool,
}

/// A time with its utilisation: from and to in nanoseconds, and the percentage of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy(pub u64, pub u64, pub u8);

/// See [`Gpu::Look`]. What could not be read is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuLook {
    /// When it was read.
    pub ts_ns: u64,
    /// See [`GpuDevice::gpu`].
    pub gpu: u32,
    /// How long the reading took, that of slower figures included.
    pub took_ns: u64,
    /// Shares of time in which a kernel ran, as the driver kept them since the look before; in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub busy: Vec<Busy>,
    /// Share of the driver's last sample period in which the memory was read or written, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_busy: Option<u8>,
    /// Memory in use by all processes, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Power, milliwatts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u32>,
    /// Energy since the driver was loaded, millijoules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<u64>,
    /// Why its clocks are lower than asked for; empty when they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Vec<Throttle>>,
}

/// Why the clocks of a GPU are not higher, after NVML's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttle {
    /// Nothing runs on it.
    GpuIdle,
    /// Somebody set the clocks so.
    ApplicationsClocks,
    /// Its display asks for it.
    DisplayClocks,
    /// It would take more power than it may.
    SwPowerCap,
    /// Hardware slowdown by half or more, of any cause.
    HwSlowdown,
    /// Another GPU of its group is slower.
    SyncBoost,
    /// It, or its memory, is too hot.
    SwThermal,
    /// Hardware slowdown: it is too hot.
    HwThermal,
    /// Hardware slowdown: the power supply asks for it.
    HwPowerBrake,
}

impl Throttle {
    /// It does work at lower clocks than it could; the others are choices or idleness.
    pub const fn is_slowdown(self) -> bool {
        !matches!(self, Self::GpuIdle | Self::ApplicationsClocks | Self::DisplayClocks)
    }

    /// Its name in recordings and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GpuIdle => "gpu_idle",
            Self::ApplicationsClocks => "applications_clocks",
            Self::DisplayClocks => "display_clocks",
            Self::SwPowerCap => "sw_power_cap",
            Self::HwSlowdown => "hw_slowdown",
            Self::SyncBoost => "sync_boost",
            Self::SwThermal => "sw_thermal",
            Self::HwThermal => "hw_thermal",
            Self::HwPowerBrake => "hw_power_brake",
        }
    }
}

/// See [`Gpu::Slow`]. What could not be read is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuSlow {
    /// When it was read.
    pub ts_ns: u64,
    /// See [`GpuDevice::gpu`].
    pub gpu: u32,
    /// Of the chip, °C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// Clock of the processors, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_mhz: Option<u32>,
    /// Clock of the memory, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mhz: Option<u32>,
    /// Sent over PCIe, KiB/s, over 20 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_tx_kib_s: Option<u32>,
    /// Received over PCIe, KiB/s, over 20 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_rx_kib_s: Option<u32>,
    /// Utilisation of the video encoder, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<u8>,
    /// Utilisation of the video decoder, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<u8>,
    /// Who uses it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<GpuProcess>,
    /// Its instances (MIG).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<GpuInstance>,
}

/// A process on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its id as the target's other events have it; of a process outside of the tree, as the driver says.
    pub pid: u32,
    /// It belongs to the traced tree.
    pub is_traced: bool,
    /// Share of the processors' time that it took since it was last looked at, percent; none where the driver
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm: Option<u8>,
    /// Its memory, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The instance in which it runs (MIG), by the driver's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
}

/// A part of a GPU (MIG).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuInstance {
    /// Its index on the GPU.
    pub index: u32,
    /// `MIG-…`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
    /// Memory in all, bytes.
    pub memory_total_bytes: u64,
}

/// See [`Gpu::Counters`]: since the driver was loaded. What could not be read is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuCounters {
    /// When they were read.
    pub ts_ns: u64,
    /// See [`GpuDevice::gpu`].
    pub gpu: u32,
    /// Memory errors that ECC corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_corrected: Option<u64>,
    /// Memory errors that ECC could not correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u64>,
    /// Errors of all NVLink lanes: CRC, replays, recoveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvlink_errors: Option<u64>,
    /// Packets sent again over PCIe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_replays: Option<u64>,
}

/// See [`Gpu::Lost`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuLost {
    /// When that was found.
    pub ts_ns: u64,
    /// See [`GpuDevice::gpu`].
    pub gpu: u32,
    /// The driver's words.
    pub why: String,
}
