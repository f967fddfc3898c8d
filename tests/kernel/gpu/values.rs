//! What the driver says is what the report says.

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    fake_gpu::{FakeGpu, counts, gpu},
    report::{Dist, Report},
    stats::percentile,
};
use serde_json::{Value, json};

use super::{Idle, blind_spots, same};
use crate::{Suite, add};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, readings, samples, throttling, processes, several_gpus, instances_and_errors, replayed);
}

/// A distribution against the values that it must be of, in a unit of which they are thousandths or the like.
fn is_of(report: &Report, pointer: &str, values: &[u64], unit: f64) -> Result<()> {
    let dist: Dist = report.at(pointer)?;
    ensure!(!values.is_empty() && dist.count == values.len() as u64, "{pointer}: {dist:?} of {values:?}");
    let mut sorted: Vec<f64> = values.iter().map(|value| *value as f64 * unit).collect();
    sorted.sort_by(f64::total_cmp);
    same(pointer, dist.min, sorted[0])?;
    same(pointer, dist.max, sorted[sorted.len() - 1])?;
    same(pointer, dist.mean, sorted.iter().sum::<f64>() / sorted.len() as f64)?;
    for (share, got) in [(0.5, dist.p50), (0.9, dist.p90), (0.95, dist.p95), (0.99, dist.p99)] {
        same(&format!("{pointer} at {share}"), got, percentile(&sorted, share))?;
    }
    Ok(())
}

/// Every figure that is read: each reading once, none lost, none made up.
fn readings() -> Result<()> {
    let mut gpu = gpu();
    for (function, values) in [
        ("nvmlDeviceGetUtilizationRates", vec![10, 90, 30, 100, 0]),
        ("nvmlDeviceGetPowerUsage", vec![60_000, 250_000, 699_900]),
        ("nvmlDeviceGetTotalEnergyConsumption", (0..400).map(|n| 7_000_000 + n * 125).collect()),
        ("nvmlDeviceGetTemperature.0", vec![41, 83]),
    ] {
        gpu["steps"][function] = json!(values);
    }
    let used: Vec<u64> = (0..10).map(|n| (100 + 37 * n) << 20).collect();
    gpu["steps"]["nvmlDeviceGetMemoryInfo_v2"] = json!(used);
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("nvmlDeviceGetTemperature.0", 3)?;
    let outcome = probe.finish()?;
    let report = &outcome.report;
    let looks = |function| fake.answers(0, function);
    is_of(report, "/gpu/0/power_w", &looks("nvmlDeviceGetPowerUsage")?, 1e-3)?;
    is_of(report, "/gpu/0/temperature_c", &looks("nvmlDeviceGetTemperature.0")?, 1.0)?;
    is_of(report, "/gpu/0/sm_clock_mhz", &looks("nvmlDeviceGetClockInfo.1")?, 1.0)?;
    is_of(report, "/gpu/0/memory_clock_mhz", &looks("nvmlDeviceGetClockInfo.2")?, 1.0)?;
    is_of(report, "/gpu/0/pcie_tx_bytes_per_s", &looks("nvmlDeviceGetPcieThroughput.0")?, 1024.0)?;
    is_of(report, "/gpu/0/pcie_rx_bytes_per_s", &looks("nvmlDeviceGetPcieThroughput.1")?, 1024.0)?;
    is_of(report, "/gpu/0/encoder_util", &looks("nvmlDeviceGetEncoderUtilization")?, 0.01)?;
    is_of(report, "/gpu/0/decoder_util", &looks("nvmlDeviceGetDecoderUtilization")?, 0.01)?;
    let of_memory: Vec<u64> = looks("nvmlDeviceGetUtilizationRates")?.iter().map(|gpu| gpu / 2).collect();
    is_of(report, "/gpu/0/memory_util", &of_memory, 0.01)?;
    // The first answer went into the description of the GPU, which holds its size alone.
    is_of(report, "/gpu/0/memory_bytes", &looks("nvmlDeviceGetMemoryInfo_v2")?[1..], 1.0)?;
    let energy = looks("nvmlDeviceGetTotalEnergyConsumption")?;
    let used_mj = energy[energy.len() - 1] - energy[0];
    ensure!(used_mj > 0, "{energy:?}");
    same("energy", report.at("/gpu/0/energy_j")?, used_mj as f64 / 1e3)?;
    for (pointer, expected) in [
        ("/gpu/0/uuid", json!("GPU-11111111-2222")),
        ("/gpu/0/name", json!("NVIDIA Fake 9000")),
        ("/gpu/0/driver", json!("580.95.05")),
        ("/gpu/0/power_limit_w", json!(700.0)),
        ("/gpu/0/slowdown_c", json!(90)),
        ("/gpu/0/memory_total_bytes", json!(1_048_576_000)),
        ("/gpu/0/energy_from", json!("counter")),
    ] {
        ensure!(report.at::<Value>(pointer)? == expected, "{pointer}: {}", report.at::<Value>(pointer)?);
    }
    let n_looks: u64 = report.at("/health/gpu/look_s/count")?;
    ensure!(n_looks == looks("nvmlDeviceGetPowerUsage")?.len() as u64, "{n_looks} looks");
    let cpu: f64 = report.at("/health/gpu/cpu_ratio")?;
    let agent: f64 = report.at("/health/agent_cpu_ratio")?;
    ensure!(cpu > 0.0 && cpu < agent, "looking took {cpu} of a core, all of the agent {agent}");
    ensure!(blind_spots(report)?.is_empty(), "{:?}", blind_spots(report)?);
    ensure!(outcome.stdout.contains("NVIDIA Fake 9000"), "{}", outcome.stdout);
    Ok(())
}

/// The driver's own samples: bursts shorter than the time between two looks are there, each with its time.
fn samples() -> Result<()> {
    let mut gpu = gpu();
    gpu["busy"] = json!({ "period_ms": 10, "percents": [0, 0, 0, 100, 0, 35] });
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &["--gpu-interval", "200ms"])?;
    fake.until_logged("sample", 150)?;
    let report = probe.finish()?.report;
    let all = fake.samples(0)?;
    let dist: Dist = report.at("/gpu/0/util")?;
    // The first look only finds out where the buffer stands, and what it holds is of the time before.
    ensure!(dist.count >= 100 && dist.count <= all.len() as u64, "{dist:?} of {} samples", all.len());
    let skipped = all.len() - usize::try_from(dist.count)?;
    ensure!(skipped <= 20, "{skipped} samples were left out at the beginning");
    let told: Vec<u64> = all[skipped..].iter().map(|(percent, _)| *percent).collect();
    ensure!(counts(&told).len() == 3 && dist.max == Some(1.0), "{:?}", counts(&told));
    let span_us = all[all.len() - 1].1 - all[skipped].1;
    let covered: f64 = report.at("/gpu/0/covered_s")?;
    ensure!((covered - span_us as f64 / 1e6).abs() < 0.0101, "{covered} s covered of {span_us} us");
    // All samples span 10 ms but the first, of which a part may be before the first look.
    let mean = told[1..].iter().sum::<u64>() as f64 / (told.len() - 1) as f64 / 100.0;
    let got = dist.mean.context("no mean")?;
    ensure!((got - mean).abs() < 0.01, "mean {got}, of the samples {mean}");
    Ok(())
}

/// Reasons add up to the time between looks; idleness and chosen clocks are no slowdown.
fn throttling() -> Result<()> {
    const POWER_CAP_AND_THERMAL: u64 = 0x04 | 0x20;
    for (bits, reasons, slowed) in [
        (POWER_CAP_AND_THERMAL, vec!["sw_power_cap", "sw_thermal"], 1.0),
        (0x01 | 0x02, vec!["applications_clocks", "gpu_idle"], 0.0),
        (0x80 | 0x40 | 0x08 | 0x10, vec!["hw_power_brake", "hw_slowdown", "hw_thermal", "sync_boost"], 1.0),
        (0, vec![], 0.0),
    ] {
        let mut gpu = gpu();
        gpu["steps"]["nvmlDeviceGetCurrentClocksThrottleReasons"] = json!([bits]);
        let fake = FakeGpu::new(&[gpu], json!({}))?;
        let target = Idle::start()?;
        let probe = fake.attach(target.pid(), &[])?;
        fake.until_logged("nvmlDeviceGetCurrentClocksThrottleReasons", 10)?;
        let report = probe.finish()?.report;
        let throttle: std::collections::BTreeMap<String, f64> = report.at("/gpu/0/throttle_s")?;
        let names: Vec<&str> = throttle.keys().map(String::as_str).collect();
        ensure!(names == reasons, "{bits:#x}: {throttle:?}");
        let duration: f64 = report.at("/run/duration_s")?;
        for (reason, held) in &throttle {
            ensure!(*held > 0.1 && *held < duration + 0.1, "{reason}: {held} s of {duration} s");
        }
        ensure!(report.at::<f64>("/gpu/0/slowdown_ratio")?.to_bits() == f64::to_bits(slowed), "{bits:#x}");
    }
    Ok(())
}

/// The target's processes are told from others, whatever the driver calls them.
fn processes() -> Result<()> {
    let (target, other) = (Idle::start()?, Idle::start()?);
    let mut gpu = gpu();
    gpu["processes"] = json!([
        { "pid": target.pid(), "memory": 300u64 << 20, "sm": 30 },
        { "pid": other.pid(), "memory": 50u64 << 20, "sm": 8 },
        // Gone, or of another machine: nobody here.
        { "pid": 4_999_999, "memory": 20u64 << 20, "sm": 2 },
    ]);
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("nvmlDeviceGetTemperature.0", 3)?;
    let report = probe.finish()?.report;
    let processes: Vec<Value> = report.at("/gpu/0/processes")?;
    ensure!(processes.len() == 1 && processes[0]["pid"] == target.pid(), "{processes:?}");
    ensure!(processes[0]["memory_bytes"] == 300u64 << 20, "{processes:?}");
    same("its share", processes[0]["sm_util"].as_f64(), 0.3)?;
    let others: Value = report.at("/gpu/0/other_processes")?;
    ensure!(others["pid"].is_null() && others["memory_bytes"] == 70u64 << 20, "{others}");
    same("the others' share", others["sm_util"].as_f64(), 0.1)?;
    Ok(())
}

/// Each GPU has its own numbers.
fn several_gpus() -> Result<()> {
    let gpus: Vec<Value> = (0..4u64)
        .map(|n| {
            let mut gpu = gpu();
            gpu["uuid"] = json!(format!("GPU-{n}"));
            gpu["steps"]["nvmlDeviceGetPowerUsage"] = json!([100_000 + n * 1000]);
            gpu["busy"] = json!({ "period_ms": 20, "percents": [n * 20] });
            gpu
        })
        .collect();
    let fake = FakeGpu::new(&gpus, json!({}))?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("3 nvmlDeviceGetPowerUsage", 10)?;
    let report = probe.finish()?.report;
    ensure!(report.at::<Vec<Value>>("/gpu")?.len() == 4);
    for n in 0..4u32 {
        let power: Dist = report.at(&format!("/gpu/{n}/power_w"))?;
        let util: Dist = report.at(&format!("/gpu/{n}/util"))?;
        same("power", power.max, 100.0 + f64::from(n))?;
        same("utilisation", util.mean, f64::from(n) * 0.2)?;
        ensure!(report.at::<String>(&format!("/gpu/{n}/uuid"))? == format!("GPU-{n}"));
    }
    Ok(())
}

/// Instances with their memory, the instance of a process, and counters as what they grew by.
fn instances_and_errors() -> Result<()> {
    let target = Idle::start()?;
    let mut gpu = gpu();
    for (function, values) in [
        ("nvmlDeviceGetMigMode", vec![1]),
        ("nvmlDeviceGetMaxMigDeviceCount", vec![7]),
        ("nvmlDeviceGetTotalEccErrors.0", vec![40, 42]),
        ("nvmlDeviceGetTotalEccErrors.1", vec![1, 1]),
        ("nvmlDeviceGetPcieReplayCounter", vec![5, 8]),
        ("nvmlDeviceGetNvLinkState.0", vec![1]),
        ("nvmlDeviceGetNvLinkState.1", vec![1]),
        ("nvmlDeviceGetNvLinkState.2", vec![0]),
        ("nvmlDeviceGetNvLinkErrorCounter.0.0", vec![10, 11]),
        ("nvmlDeviceGetNvLinkErrorCounter.0.1", vec![0]),
        ("nvmlDeviceGetNvLinkErrorCounter.0.2", vec![0, 4]),
        ("nvmlDeviceGetNvLinkErrorCounter.0.3", vec![0]),
        ("nvmlDeviceGetNvLinkErrorCounter.1.0", vec![0, 2]),
        ("nvmlDeviceGetNvLinkErrorCounter.1.1", vec![0]),
        ("nvmlDeviceGetNvLinkErrorCounter.1.2", vec![0]),
        ("nvmlDeviceGetNvLinkErrorCounter.1.3", vec![0]),
    ] {
        gpu["steps"][function] = json!(values);
    }
    gpu["instances"] = json!([
        { "uuid": "MIG-a", "used": 10u64 << 20, "total": 100u64 << 20 },
        { "uuid": "MIG-b", "used": 20u64 << 20, "total": 200u64 << 20 },
    ]);
    gpu["processes"] = json!([{ "pid": target.pid(), "memory": 7u64 << 20, "sm": 1, "instance": 9 }]);
    let fake = FakeGpu::new(&[gpu], json!({}))?;
    let probe = fake.attach(target.pid(), &[])?;
    fake.until_logged("nvmlDeviceGetTemperature.0", 2)?;
    let report = probe.finish()?.report;
    for (pointer, expected) in [
        ("/gpu/0/ecc_corrected", 2),
        ("/gpu/0/ecc_uncorrected", 0),
        ("/gpu/0/pcie_replays", 3),
        ("/gpu/0/nvlink_errors", 7),
        ("/gpu/0/processes/0/instance", 9),
        ("/gpu/0/instances/1/memory_total_bytes", 200 << 20),
    ] {
        ensure!(report.at::<u64>(pointer)? == expected, "{pointer}: {}", report.at::<Value>(pointer)?);
    }
    let instances: Vec<Value> = report.at("/gpu/0/instances")?;
    ensure!(instances.len() == 2 && instances[0]["uuid"] == "MIG-a", "{instances:?}");
    same("memory", report.at::<Dist>("/gpu/0/instances/1/memory_bytes")?.max, f64::from(20 << 20))
}

/// The recording of such a run gives the same report.
fn replayed() -> Result<()> {
    let fake = FakeGpu::new(&[gpu(), gpu()], json!({}))?;
    let target = Idle::start()?;
    let probe = fake.attach(target.pid(), &["--record"])?;
    fake.until_logged("1 nvmlDeviceGetPowerUsage", 20)?;
    let outcome = probe.finish()?;
    let live = std::fs::read(outcome.run_dir().join("report.json"))?;
    let replay = std::process::Command::new(probe_tests::probe::binary()?)
        .arg("report")
        .arg(outcome.run_dir())
        .args(["--format", "json", "--inconclusive", "pass"])
        .output()?;
    ensure!(live.trim_ascii_end() == replay.stdout.trim_ascii_end(), "live and replayed report differ");
    Ok(())
}
