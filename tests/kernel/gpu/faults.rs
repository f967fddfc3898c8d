//! A driver that is not there, lacks functions, refuses, loses a GPU, or never returns: named once, the run goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use probe_tests::{
    fake_gpu::{DRIVER_NOT_LOADED, FakeGpu, GPU_IS_LOST, NO_PERMISSION, NOT_SUPPORTED, gpu},
    probe::Probe,
    report::{Dist, Report},
};
use serde_json::{Value, json};

use super::{Idle, blind_spots};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        no_library,
        nothing_to_watch,
        off,
        every_figure_refused,
        older_driver,
        a_gpu_is_lost,
        a_call_never_returns,
        passing_failures
    );
}

fn no_section(report: &Report) -> Result<()> {
    ensure!(
        report.0.get("gpu").is_none() && report.0.pointer("/health/gpu").is_none(),
        "a section of nothing"
    );
    Ok(())
}

/// The only blind spot that speaks of GPUs.
fn only(report: &Report, words: &str) -> Result<()> {
    let spots = blind_spots(report)?;
    ensure!(spots.len() == 1 && format!("{spots:?}").contains(words), "`{words}` in {spots:?}");
    Ok(())
}

/// A machine without a driver: one line, no section, all else as ever.
fn no_library() -> Result<()> {
    let target = Idle::start()?;
    let probe = Probe::attach(target.pid(), &["--nvml", "/nonexistent/libnvidia-ml.so.1"])?;
    let outcome = probe.finish()?;
    only(&outcome.report, "there is no NVIDIA driver here")?;
    no_section(&outcome.report)?;
    ensure!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    Ok(())
}

/// A driver that refuses, has no GPU, or whose only GPU does not answer.
fn nothing_to_watch() -> Result<()> {
    let refusing = json!({ "steps": { "nvmlInit_v2": [{ "error": DRIVER_NOT_LOADED }] } });
    let mut unreachable = gpu();
    unreachable["handle_error"] = json!(NO_PERMISSION);
    for (gpus, driver, words) in [
        (vec![gpu()], refusing, "the NVIDIA driver is not loaded"),
        (vec![], json!({}), "finds no GPU"),
        (vec![unreachable], json!({}), "permission"),
    ] {
        let fake = FakeGpu::new(&gpus, driver)?;
        let target = Idle::start()?;
        let report = fake.attach(target.pid(), &[])?.finish()?.report;
        only(&report, words)?;
        no_section(&report)?;
    }
    Ok(())
}

/// Switched off it asks nobody.
fn off() -> Result<()> {
    let fake = FakeGpu::new(&[gpu()], json!({}))?;
    let target = Idle::start()?;
    let report = fake.attach(target.pid(), &["--skip", "gpu"])?.finish()?.report;
    no_section(&report)?;
    ensure!(fake.log()?.is_empty(), "{:?}", fake.log()?);
    Ok(())
}

/// Each figure that a GPU refuses is missing alone, asked for once, and named once.
fn every_figure_refused() -> Result<()> {
    for (function, figure, section) in [
        ("nvmlDeviceGetUtilizationRates", "utilisation", "memory_util"),
        ("nvmlDeviceGetMemoryInfo_v2", "memory", "memory_bytes"),
        ("nvmlDeviceGetPowerUsage", "power", "power_w"),
        ("nvmlDeviceGetTotalEnergyConsumption", "energy", ""),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", "throttling", ""),
        ("nvmlDeviceGetTemperature.0", "temperature", "temperature_c"),
        ("nvmlDeviceGetClockInfo.1", "processor clock", "sm_clock_mhz"),
        ("nvmlDeviceGetClockInfo.2", "memory clock", "memory_clock_mhz"),
        ("nvmlDeviceGetPcieThroughput.0", "PCIe throughput", "pcie_tx_bytes_per_s"),
        ("nvmlDeviceGetEncoderUtilization", "encoder", "encoder_util"),
        ("nvmlDeviceGetDecoderUtilization", "decoder", "decoder_util"),
        ("nvmlDeviceGetSamples", "utilisation between looks", ""),
    ] {
        // Permissions for one half, functions that the GPU lacks for the other.
        let code = if figure.contains('e') { NO_PERMISSION } else { NOT_SUPPORTED };
        let mut gpu = gpu();
        gpu["steps"][function] = json!([{ "error": code }]);
        if function == "nvmlDeviceGetSamples" {
            gpu["busy"] = Value::Null;
        }
        let target = Idle::start()?;
        gpu["processes"] = json!([{ "pid": target.pid(), "memory": 5, "sm": 5 }]);
        let fake = FakeGpu::new(&[gpu], json!({}))?;
        let probe = fake.attach(target.pid(), &[])?;
        let (other, times) = if function.contains("Power") {
            ("nvmlDeviceGetMemoryInfo_v2", 5)
        } else {
            ("nvmlDeviceGetPowerUsage", 5)
        };
        fake.until_logged(other, times)?;
        let report = probe.finish()?.report;
        only(&report, &format!("of GPU 0: {figure}"))?;
        let n_asked =
            fake.log()?.iter().filter(|line| line.starts_with(&format!("0 {function} error"))).count();
        ensure!(n_asked <= 1, "{function} was asked for {n_asked} times");
        if !section.is_empty() {
            let missing: Dist = report.at(&format!("/gpu/0/{section}"))?;
            ensure!(missing.count == 0 && missing.max.is_none(), "{section}: {missing:?}");
        }
        // Utilisation comes from the samples or from the last figure: one is enough.
        let util: Dist = report.at("/gpu/0/util")?;
        ensure!(util.count > 0, "{function}: no utilisation at all");
        if function == "nvmlDeviceGetTotalEnergyConsumption" {
            ensure!(report.at::<String>("/gpu/0/energy_from")? == "power");
            // 100 W all the time.
            let (joules, covered): (f64, f64) =
                (report.at("/gpu/0/energy_j")?, report.at("/run/duration_s")?);
            ensure!(joules > 0.0 && joules <= (covered + 0.1) * 100.0, "{joules} J in {covered} s");
        }
    }
    Ok(())
}

/// The library of an older driver does not have all functions.
fn older_driver() -> Result<()> {
    let lacking = ["nvmlDeviceGetSamples", "nvmlDeviceGetMigMode", "nvmlDeviceGetTotalEnergyConsumption"];
    let fake = FakeGpu::new(&[gpu()], json!({}))?.without(&lacking)?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("nvmlDeviceGetPowerUsage", 5)?;
    let report = probe.finish()?.report;
    only(&report, "this driver does not have the function")?;
    only(&report, "energy")?;
    let util: Dist = report.at("/gpu/0/util")?;
    super::same("utilisation", util.mean, 0.4)?;
    // One that cannot even be initialised.
    let fake = FakeGpu::new(&[gpu()], json!({}))?.without(&["nvmlInit_v2"])?;
    let report = fake.attach(target.pid(), &[])?.finish()?.report;
    only(&report, "does not have the function")?;
    no_section(&report)
}

/// One of two GPUs falls off the bus: the other goes on, and what was seen of the first stays.
fn a_gpu_is_lost() -> Result<()> {
    let mut failing = gpu();
    failing["steps"]["nvmlDeviceGetPowerUsage"] =
        json!([50_000, 50_000, 50_000, 50_000, { "error": GPU_IS_LOST }]);
    let fake = FakeGpu::new(&[failing, gpu()], json!({}))?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("1 nvmlDeviceGetPowerUsage", 20)?;
    let outcome = probe.finish()?;
    let report = outcome.report;
    only(&report, "GPU 0 since it stopped answering")?;
    ensure!(
        report.at::<Dist>("/gpu/0/power_w")?.count == 4 && report.at::<Dist>("/gpu/1/power_w")?.count >= 20
    );
    let (lost, duration): (f64, f64) = (report.at("/gpu/0/lost_s")?, report.at("/run/duration_s")?);
    ensure!(lost > 0.0 && lost < duration, "lost {lost} s after the start of {duration} s");
    ensure!(report.0.pointer("/gpu/1/lost_s").is_none());
    let after: Vec<_> = fake.log()?.into_iter().skip_while(|line| !line.contains("error")).collect();
    let still_asked = after.iter().skip(1).filter(|line| line.starts_with("0 nvml")).count();
    ensure!(still_asked == 0, "a lost GPU was asked {still_asked} more times");
    ensure!(outcome.stdout.contains("lost"), "{}", outcome.stdout);
    Ok(())
}

/// A driver that hangs, at its start or in the middle of a run: the run ends in time, with what was seen.
fn a_call_never_returns() -> Result<()> {
    let starting = json!({ "steps": { "nvmlInit_v2": [{ "hang": true }] } });
    let mut hanging = gpu();
    hanging["steps"]["nvmlDeviceGetTotalEnergyConsumption"] = json!([1000, 1010, 1020, { "hang": true }]);
    for (gpu, driver, call, n_readings) in
        [(gpu(), starting, "nvmlInit_v2", 0), (hanging, json!({}), "nvmlDeviceGetTotalEnergyConsumption", 3)]
    {
        let fake = FakeGpu::new(&[gpu], driver)?;
        let target = Idle::start()?;
        let probe = fake.attach(target.pid(), &[])?;
        fake.until_logged("hangs", 1)?;
        let began = Instant::now();
        let report = probe.finish()?.report;
        ensure!(began.elapsed() < Duration::from_secs(10), "it waited {:?}", began.elapsed());
        only(&report, &format!("has not returned from {call}"))?;
        if n_readings > 0 {
            let memory: Dist = report.at("/gpu/0/memory_bytes")?;
            ensure!(memory.count == n_readings, "{memory:?}");
        }
    }
    Ok(())
}

/// What fails in passing is asked for again, and counted.
fn passing_failures() -> Result<()> {
    const TIMEOUT: u64 = 10;
    let mut gpu = gpu();
    gpu["steps"]["nvmlDeviceGetPowerUsage"] =
        json!([50_000, { "error": TIMEOUT }, 50_000, { "error": TIMEOUT }, 50_000]);
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("nvmlDeviceGetPowerUsage", 8)?;
    let report = probe.finish()?.report;
    only(&report, "2 answers of the GPU's driver")?;
    let readings = fake.answers(0, "nvmlDeviceGetPowerUsage")?.len() as u64;
    ensure!(report.at::<Dist>("/gpu/0/power_w")?.count == readings, "of {readings}");
    Ok(())
}
