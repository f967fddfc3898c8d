//! One window of a load: what server and agent used in it, without the beginning, in which connections are new and caches
//! cold; and windows off, on, on, off in turn, so that what drifts with time goes out.

use std::{fs, thread, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use probe_tests::{
    client::Entry,
    load::Load,
    probe::Probe,
    report::Report,
    server::Server,
    stats::{percentile, sorted},
    wait,
};

/// How long the load runs before the window begins, and how long the window is.
const WARM_S: f64 = 0.25;
const WINDOW_S: f64 = 1.0;

/// One load, off and on in turn; of each turn the two windows off and the two on are one.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) off: Vec<Window>,
    pub(crate) on: Vec<Window>,
    pub(crate) reports: Vec<Report>,
}

#[derive(Default)]
pub(crate) struct Window {
    took_s: f64,
    /// CPU time of the server, and of the agent, if there is one.
    cpu_ns: f64,
    agent_ns: f64,
    latencies_s: Vec<f64>,
}

impl Window {
    fn joined(mut self, other: Self) -> Self {
        self.latencies_s.extend(other.latencies_s);
        Self {
            took_s: self.took_s + other.took_s,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            agent_ns: self.agent_ns + other.agent_ns,
            latencies_s: self.latencies_s,
        }
    }

    pub(crate) fn rate_per_s(&self) -> f64 {
        self.latencies_s.len() as f64 / self.took_s
    }

    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_ns / 1e3 / self.latencies_s.len() as f64
    }

    pub(crate) fn agent_percent(&self) -> f64 {
        self.agent_ns / 1e9 / self.took_s * 100.0
    }

    pub(crate) fn latency_ms(&self, share: f64) -> f64 {
        percentile(&sorted(self.latencies_s.iter().copied()), share) * 1e3
    }
}

/// CPU time of a process's threads, nanoseconds: the first number of /proc/PID/task/TID/schedstat.
pub(crate) fn cpu_ns(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).context("no schedstat")?;
    }
    Ok(sum)
}

/// `turns` times off, on, on, off.
pub(crate) fn compare(server: &Server, load: &Load, per_s: f64, turns: usize) -> Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..turns {
        let before = window(server, load, per_s, None)?;
        let probe = Probe::attach(server.pid(), &[])?;
        let first = window(server, load, per_s, Some(&probe))?;
        let second = window(server, load, per_s, Some(&probe))?;
        measured.reports.push(probe.finish()?.report);
        let behind = window(server, load, per_s, None)?;
        measured.on.push(first.joined(second));
        measured.off.push(before.joined(behind));
    }
    Ok(measured)
}

pub(crate) fn window(server: &Server, load: &Load, per_s: f64, probe: Option<&Probe>) -> Result<Window> {
    let warm = requests(per_s, WARM_S);
    let load = Load { requests: warm + requests(per_s, WINDOW_S), ..load.clone() };
    let used = || -> Result<(f64, f64)> {
        Ok((cpu_ns(server.pid())?, probe.map_or(Ok(0.0), |probe| cpu_ns(probe.pid()))?))
    };
    let answered_before = load.answered.get();
    let answered = || usize::try_from(load.answered.get() - answered_before);
    thread::scope(|scope| {
        let sending = scope.spawn(|| load.run());
        wait::until("a warm server", wait::SOON, || {
            Ok((answered()? >= warm || sending.is_finished()).then_some(()))
        })?;
        let (skipped, began, (cpu_before, agent_before)) = (answered()?, Instant::now(), used()?);
        let log = sending.join().map_err(|_| anyhow!("the load panicked"))??;
        let (took, (cpu, agent)) = (began.elapsed(), used()?);
        ensure!(skipped < log.entries.len(), "the load ended before its window began");
        Ok(Window {
            took_s: took.as_secs_f64(),
            cpu_ns: cpu - cpu_before,
            agent_ns: agent - agent_before,
            latencies_s: log.entries[skipped..].iter().map(Entry::latency_s).collect(),
        })
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^53"
)]
pub(crate) fn requests(per_s: f64, seconds: f64) -> usize {
    (per_s * seconds) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_windows_are_one() {
        let window = |cpu_ns, latency_s| Window {
            took_s: 0.5,
            cpu_ns,
            agent_ns: 1e7,
            latencies_s: vec![latency_s; 2],
        };
        let both = window(4e3, 0.001).joined(window(8e3, 0.003));
        let close = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-9, "{value} for {wanted}");
        close(both.rate_per_s(), 4.0);
        close(both.cpu_us(), 3.0);
        close(both.agent_percent(), 2.0);
        close(both.latency_ms(1.0), 3.0);
    }
}
