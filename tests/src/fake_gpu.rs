//! Probe with the fake driver: a script for it, and its log, which says what the driver really answered.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    probe::{NOTHING, Probe},
    wait,
};

/// NVML's codes, from nvml.h.
pub const NOT_SUPPORTED: u64 = 3;
/// See [`NOT_SUPPORTED`].
pub const NO_PERMISSION: u64 = 4;
/// See [`NOT_SUPPORTED`].
pub const DRIVER_NOT_LOADED: u64 = 9;
/// See [`NOT_SUPPORTED`].
pub const GPU_IS_LOST: u64 = 15;

/// A driver that plays a script.
#[derive(Debug)]
pub struct FakeGpu {
    folder: tempfile::TempDir,
    library: PathBuf,
}

/// A GPU that tells everything, of a script; each figure may be changed.
#[must_use]
pub fn gpu() -> Value {
    json!({
        "uuid": "GPU-11111111-2222", "name": "NVIDIA Fake 9000", "memory_total": 1000u64 << 20,
        "steps": {
            "nvmlDeviceGetUtilizationRates": [40],
            "nvmlDeviceGetMemoryInfo_v2": [200u64 << 20],
            "nvmlDeviceGetPowerUsage": [100_000],
            "nvmlDeviceGetTotalEnergyConsumption": [5_000],
            "nvmlDeviceGetCurrentClocksThrottleReasons": [0],
            "nvmlDeviceGetEnforcedPowerLimit": [700_000],
            "nvmlDeviceGetTemperature.0": [50],
            "nvmlDeviceGetTemperatureThreshold.1": [90],
            "nvmlDeviceGetClockInfo.1": [1980],
            "nvmlDeviceGetClockInfo.2": [2619],
            "nvmlDeviceGetPcieThroughput.0": [2048],
            "nvmlDeviceGetPcieThroughput.1": [4096],
            "nvmlDeviceGetEncoderUtilization": [5],
            "nvmlDeviceGetDecoderUtilization": [6],
            "nvmlDeviceGetMigMode": [0],
        },
        "busy": { "period_ms": 20, "percents": [25] },
        "processes": [],
    })
}

impl FakeGpu {
    /// With these GPUs; what `driver` holds (`steps`) is of the whole driver.
    pub fn new(gpus: &[Value], mut driver: Value) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        driver["log"] = json!(folder.path().join("log"));
        driver["gpus"] = json!(gpus);
        if driver["driver"].is_null() {
            driver["driver"] = json!("580.95.05");
        }
        if driver["steps"].is_null() {
            driver["steps"] = json!({ "nvmlInit_v2": [0] });
        }
        fs::write(folder.path().join("script"), driver.to_string()).context("failed to write a script")?;
        fs::write(folder.path().join("log"), "").context("failed to make a log")?;
        // cargo puts it beside the tests' own binaries.
        let tests = std::env::current_exe().context("failed to find the tests' own folder")?;
        let library = tests.with_file_name("libfake_nvml.so");
        ensure!(library.exists(), "there is no `{}`", library.display());
        Ok(Self { folder, library })
    }

    /// The library of an older driver: it lacks these functions.
    pub fn without(mut self, functions: &[&str]) -> Result<Self> {
        let mut bytes = fs::read(&self.library).context("failed to read the fake driver")?;
        for function in functions {
            // The dynamic linker finds names by their text, so one with another text is not there.
            let wanted = [b"\0", function.as_bytes(), b"\0"].concat();
            let mut n_found = 0;
            while let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
                bytes[at + 1] = b'_';
                n_found += 1;
            }
            ensure!(n_found > 0, "the fake driver has no `{function}`");
        }
        self.library = self.folder.path().join("libnvidia-ml.so.1");
        fs::write(&self.library, bytes).context("failed to write the older driver")?;
        Ok(self)
    }

    /// Its library.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Its script, for the environment.
    #[must_use]
    pub fn script(&self) -> PathBuf {
        self.folder.path().join("script")
    }

    /// Attaches with this driver.
    pub fn attach(&self, pid: u32, more: &[&str]) -> Result<Probe> {
        self.attach_with(pid, NOTHING, more)
    }

    /// The same with a profile's text.
    pub fn attach_with(&self, pid: u32, profile: &str, more: &[&str]) -> Result<Probe> {
        let library = self.library.to_str().context("a temporary folder that is not UTF-8")?;
        let mut arguments = [&["--nvml", library][..], more].concat();
        if !more.contains(&"--gpu-interval") {
            arguments.extend(["--gpu-interval", "20ms"]);
        }
        Probe::attach_in(pid, profile, &arguments, &[("FAKE_NVML", &self.script())])
    }

    /// What it has answered so far, line by line.
    pub fn log(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.folder.path().join("log")).context("failed to read its log")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The numbers that a function of a GPU has answered so far.
    pub fn answers(&self, gpu: u32, function: &str) -> Result<Vec<u64>> {
        let head = format!("{gpu} {function} ");
        let log = self.log()?;
        let values = log.iter().filter_map(|line| line.strip_prefix(&head));
        values.filter(|value| !value.starts_with("error")).map(|value| Ok(value.parse()?)).collect()
    }

    /// Samples that it has given: percent and microseconds since 1970.
    pub fn samples(&self, gpu: u32) -> Result<Vec<(u64, u64)>> {
        let head = format!("{gpu} sample ");
        let log = self.log()?;
        let mut samples = Vec::new();
        for line in log.iter().filter_map(|line| line.strip_prefix(&head)) {
            let (percent, at) = line.split_once(" at ").context("half a line")?;
            samples.push((percent.parse()?, at.parse()?));
        }
        Ok(samples)
    }

    /// Waits until a line with this text has been logged so many times.
    pub fn until_logged(&self, text: &str, times: usize) -> Result<()> {
        wait::until(&format!("{times} times `{text}` in the driver's log"), wait::SOON, || {
            let n = self.log()?.iter().filter(|line| line.contains(text)).count();
            Ok((n >= times).then_some(()))
        })
    }
}

/// How often each value stands there.
#[must_use]
pub fn counts(values: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(*value).or_default() += 1;
    }
    counts
}
