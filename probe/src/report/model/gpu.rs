//! GPUs: what they did, who used them, and what they did while requests were in the application.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;

/// See [`super::Report::gpu`]. What the GPU or its driver does not tell is null or left out.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Gpu {
    /// The driver's index.
    pub index: u32,
    /// See [`super::Report::phases`].
    pub phase: String,
    /// The driver's lasting name for it.
    pub uuid: Option<String>,
    /// The product's name.
    pub name: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// It was lost so many seconds after the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_s: Option<f64>,
    /// For so many seconds its utilisation is known.
    pub covered_s: f64,
    /// Share of time in which a kernel ran, weighted by time: from the driver's own samples where it keeps them.
    pub util: Distribution,
    /// Share of time in which its memory was read or written.
    pub memory_util: Distribution,
    /// Memory in use, by all processes.
    pub memory_bytes: Distribution,
    /// Memory in all.
    pub memory_total_bytes: Option<u64>,
    /// Power, watts.
    pub power_w: Distribution,
    /// Power above which it lowers its clocks, watts.
    pub power_limit_w: Option<f64>,
    /// Energy, joules.
    pub energy_j: Option<f64>,
    /// Energy for each document that was finished in this phase, joules; left out where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_per_document_j: Option<f64>,
    /// `counter` (the GPU's own) or `power` (made of power readings).
    pub energy_from: Option<String>,
    /// Temperature, °C.
    pub temperature_c: Distribution,
    /// Temperature at which it lowers its clocks, °C.
    pub slowdown_c: Option<u32>,
    /// Clock of the processors, MHz.
    pub sm_clock_mhz: Distribution,
    /// Clock of the memory, MHz.
    pub memory_clock_mhz: Distribution,
    /// Sent over PCIe, bytes per second.
    pub pcie_tx_bytes_per_s: Distribution,
    /// Received over PCIe, bytes per second.
    pub pcie_rx_bytes_per_s: Distribution,
    /// Utilisation of the video encoder.
    pub encoder_util: Distribution,
    /// Utilisation of the video decoder.
    pub decoder_util: Distribution,
    /// Seconds for which each reason held its clocks down, from each look to the next; null where it does not tell.
    pub throttle_s: Option<BTreeMap<String, f64>>,
    /// Share of time with a reason that slows work down: power, heat, the power supply, a slower GPU beside it.
    pub slowdown_ratio: Option<f64>,
    /// Memory errors during the run that ECC corrected.
    pub ecc_corrected: Option<u64>,
    /// Memory errors during the run that ECC could not correct.
    pub ecc_uncorrected: Option<u64>,
    /// Errors of its NVLink lanes during the run.
    pub nvlink_errors: Option<u64>,
    /// Packets sent again over PCIe during the run.
    pub pcie_replays: Option<u64>,
    /// Processes of the target, by id.
    pub processes: Vec<GpuProcess>,
    /// All other processes together; left out when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_processes: Option<GpuProcess>,
    /// The instances into which it is divided (MIG).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<GpuInstance>,
    /// What it did while requests were in the application.
    pub endpoints: Vec<GpuOverlap>,
    /// What it did while stages of documents ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<GpuStage>,
}

/// See [`super::Report::gpu_history`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuHistory {
    /// The driver's index.
    pub index: u32,
    /// In the order of time; pieces of which nothing is known are left out.
    pub points: Vec<GpuPoint>,
}

/// What a GPU did in a piece of time.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuPoint {
    /// From the start of the run.
    pub start_s: f64,
    /// From the start of the run.
    pub end_s: f64,
    /// Share of the time in which a kernel ran.
    pub util: Option<f64>,
    /// Most memory in use.
    pub memory_bytes: Option<u64>,
    /// Mean power, watts.
    pub power_w: Option<f64>,
}

/// A process, or several, on a GPU.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its id on the host; null for several.
    pub pid: Option<u32>,
    /// Mean share of the processors' time, over the whole run.
    pub sm_util: Option<f64>,
    /// Most memory at a time.
    pub memory_bytes: Option<u64>,
    /// The instance in which it ran (MIG), by the driver's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
}

/// An instance of a GPU (MIG).
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuInstance {
    /// Its index on the GPU.
    pub index: u32,
    /// `MIG-…`
    pub uuid: Option<String>,
    /// Memory in use.
    pub memory_bytes: Distribution,
    /// Memory in all.
    pub memory_total_bytes: u64,
}

/// What a GPU did while requests of an endpoint were in the application, whoever it did it for: time is all that
/// the two are joined by.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuOverlap {
    /// The endpoint.
    pub endpoint: String,
    /// Its timed requests.
    pub requests: u64,
    /// Seconds of them for which the GPU is known, all requests together.
    pub covered_s: f64,
    /// Share of that time in which a kernel ran.
    pub util: Option<f64>,
    /// Mean energy of the GPU during one request, joules; requests at the same time have the same energy.
    pub energy_j: Option<f64>,
    /// Most memory in use at a time.
    pub memory_bytes: Option<u64>,
}

/// What a GPU did while a stage ran, whoever it did it for.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct GpuStage {
    /// The stage.
    pub stage: String,
    /// Documents of which its beginning and its end were seen.
    pub documents: u64,
    /// Seconds of it for which the GPU is known, all documents together.
    pub covered_s: f64,
    /// Share of that time in which a kernel ran.
    pub util: Option<f64>,
    /// Mean energy of the GPU during it for one document, joules; documents at the same time have the same energy.
    pub energy_j: Option<f64>,
    /// Most memory in use at a time.
    pub memory_bytes: Option<u64>,
}
