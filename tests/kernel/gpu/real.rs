//! A real GPU against `nvidia-smi`, which asks the same driver in its own words, idle and under a load.
//!
//! Shows as skipped where there is no GPU. The load is CUDA's own `bandwidthTest`-like copying by PyTorch where that
//! is installed for `PROBE_TEST_PYTHON`; without it the GPU is compared as it is.

use std::{
    env,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use probe_tests::{
    probe::Probe,
    report::Dist,
    skip::{self, Reason},
    wait,
};

use super::Idle;
use crate::Suite;

/// Readings of `nvidia-smi`, one each 100 ms.
const READINGS: usize = 50;
/// A kernel is always running: matrices that keep every processor busy, queued without a pause.
const LOAD: &str = "import torch
a = torch.randn(4096, 4096, device='cuda', dtype=torch.float16)
torch.cuda.synchronize(); print('ready', flush=True)
while True:
    for _ in range(50): a = (a @ a).clamp(-1, 1)
    torch.cuda.synchronize()
";

pub(crate) fn add_to(suite: &mut Suite) {
    if suite.ladder {
        // A kernel of its own has no GPU.
        return;
    }
    let obstacle = suite.obstacle.clone().or_else(no_gpu);
    let trials = [
        ("gpu::real::agrees_with_nvidia_smi_as_it_is", obstacle.clone(), as_it_is as fn() -> Result<()>),
        ("gpu::real::agrees_with_nvidia_smi_under_load", obstacle.or_else(no_load), under_load),
    ];
    for (name, obstacle, run) in trials {
        suite.trials.push(skip::trial(name, obstacle.as_ref(), run));
    }
}

fn no_gpu() -> Option<Reason> {
    let answer = Command::new("nvidia-smi").arg("-L").output();
    let has_gpu = answer.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"GPU 0"));
    (!has_gpu).then(|| Reason::new("nvidia-smi finds no GPU"))
}

fn no_load() -> Option<Reason> {
    let check = "import torch; assert torch.cuda.is_available()";
    let has_torch = python().is_some_and(|python| {
        let quiet = Command::new(python).args(["-c", check]).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    });
    (!has_torch).then(|| Reason::new("no PyTorch with CUDA to load the GPU with"))
}

fn python() -> Option<String> {
    env::var("PROBE_TEST_PYTHON").ok()
}

/// What `nvidia-smi` says of GPU 0 over the same time: percent, MiB, watts, °C, MHz.
struct Smi(Vec<[f64; 5]>);

impl Smi {
    fn read() -> Result<Self> {
        const QUERY: &str = "utilization.gpu,memory.used,power.draw,temperature.gpu,clocks.sm";
        let mut child = Command::new("nvidia-smi")
            .args([
                "-i",
                "0",
                &format!("--query-gpu={QUERY}"),
                "--format=csv,noheader,nounits",
                "-lms",
                "100",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start `nvidia-smi`")?;
        let stdout = child.stdout.take().context("no output of `nvidia-smi`")?;
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stdout)).take(READINGS);
        let readings = lines.map(|line| {
            let line = line?;
            let fields: Vec<f64> = line.split(',').filter_map(|field| field.trim().parse().ok()).collect();
            <[f64; 5]>::try_from(fields).map_err(|_| anyhow::anyhow!("`nvidia-smi` said `{line}`"))
        });
        let readings = readings.collect::<Result<_>>();
        child.kill()?;
        child.wait()?;
        Ok(Self(readings?))
    }

    fn column(&self, index: usize) -> (f64, f64, f64) {
        let values = || self.0.iter().map(|reading| reading[index]);
        let mean = values().sum::<f64>() / self.0.len() as f64;
        (values().fold(f64::INFINITY, f64::min), mean, values().fold(0.0, f64::max))
    }
}

fn as_it_is() -> Result<()> {
    let target = Idle::start()?;
    compare(target.pid(), None)
}

fn under_load() -> Result<()> {
    let python = python().context("looked at before")?;
    let load = Command::new(python).args(["-c", LOAD]).stdout(Stdio::piped()).spawn()?;
    let mut load = Guard(load);
    let mut ready = String::new();
    let stdout = load.0.stdout.take().context("no output of the load")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready)?;
    ensure!(ready.starts_with("ready"), "the load did not begin");
    compare(load.0.id(), Some(0.9))
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It runs until it is killed.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Both looked at the same time: the driver renews its figures every 20 to 200 ms, so means agree within a few percent
/// of the range, and what hardly moves within its resolution.
fn compare(pid: u32, least_util: Option<f64>) -> Result<()> {
    let probe = Probe::attach(pid, &["--gpu-interval", "100ms"])?;
    // A driver without persistence mode takes a while to wake up.
    wait::until("its first call of the driver", wait::SOON, || {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", probe.pid()))?;
        Ok(maps.contains("libnvidia-ml").then_some(()))
    })?;
    let smi = Smi::read()?;
    let report = probe.finish()?.report;
    for (pointer, column, unit, tolerance) in [
        ("/gpu/0/util", 0, 0.01, 0.05),
        ("/gpu/0/memory_bytes", 1, 1_048_576.0, 32.0 * 1_048_576.0),
        ("/gpu/0/power_w", 2, 1.0, 15.0),
        ("/gpu/0/temperature_c", 3, 1.0, 2.0),
        ("/gpu/0/sm_clock_mhz", 4, 1.0, 100.0),
    ] {
        let dist: Dist = report.at(pointer)?;
        let mean = dist.mean.with_context(|| format!("{pointer}: nothing was read"))?;
        let (low, expected, high) = smi.column(column);
        probe_tests::say::say(&format!(
            "    {pointer}: probe {mean:.4}, nvidia-smi {:.4} ({:.4} to {:.4})",
            expected * unit,
            low * unit,
            high * unit
        ));
        ensure!((mean - expected * unit).abs() <= tolerance, "{pointer}: {mean} against {}", expected * unit);
    }
    if let Some(least) = least_util {
        let util: Dist = report.at("/gpu/0/util")?;
        if util.mean.is_none_or(|mean| mean < least) {
            bail!("a load without pauses, and a GPU that is busy for {:?} of the time", util.mean);
        }
        let mine: u32 = report.at("/gpu/0/processes/0/pid")?;
        ensure!(mine == pid, "the load is {pid}, on the GPU is {mine}");
    }
    let cost: f64 = report.at("/health/gpu/cpu_ratio")?;
    probe_tests::say::say(&format!("    looking cost {:.2} % of a core", cost * 100.0));
    Ok(())
}
