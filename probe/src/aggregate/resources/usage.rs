//! The levels of one subject.

use serde::{Deserialize, Serialize};

use crate::aggregate::evidence::{Evidence, Subject};
use crate::aggregate::gpu::Spread;
use crate::event::ProcessLook;
use crate::profile::Metric;

/// Shares are kept in millionths, percentiles of them in thousandths.
const SHARE: Spread = Spread::new(1000, 1e-6);
const COUNT: Spread = Spread::new(1, 1.0);
const BYTES: Spread = Spread::new(64 * 1024, 1.0);
const MILLION: u128 = 1_000_000;

/// The levels of one subject; those that it does not have are empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time: of a process as a share of one core, else of all cores.
    pub cpu: Spread,
    /// Resident memory, bytes.
    pub rss: Spread,
    /// Resident memory as a share of what may be taken.
    pub memory: Spread,
    /// Open file descriptors.
    pub fds: Spread,
    /// Threads.
    pub threads: Spread,
    /// Established connections.
    pub connections: Spread,
    /// Connections that waited for `accept`.
    pub backlog: Spread,
    /// Context switches per second.
    pub switches: Spread,
    /// Of these, those that the scheduler forced.
    pub involuntary: Spread,
    /// Time that threads could have run and waited for a CPU, per time: 1 is one thread that always waits.
    pub run_queue: Spread,
    /// Share of time in which a disk had something to do.
    pub busy: Spread,
    /// Resident memory at the first look and at the last, bytes.
    pub rss_ends: Option<(u64, u64)>,
    /// TCP segments sent.
    pub segments: u64,
    /// Of these, sent again.
    pub retransmits: u64,
}

/// By how much counters grew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    pub(super) cpu_ns: Option<u64>,
    voluntary: Option<u64>,
    involuntary: Option<u64>,
    pub(super) run_queue_ns: Option<u64>,
}

impl Growth {
    /// A process that was not there at the look before began after it, at 0.
    pub(super) fn between(before: Option<&ProcessLook>, now: &ProcessLook) -> Self {
        let grown = |of: fn(&ProcessLook) -> Option<u64>| {
            let now = of(now)?;
            Some(now.saturating_sub(before.map_or(Some(0), of)?))
        };
        Self {
            cpu_ns: grown(|look| look.cpu_ns),
            voluntary: grown(|look| look.voluntary),
            involuntary: grown(|look| look.involuntary),
            run_queue_ns: grown(|look| look.run_queue_ns),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (own, other) in [
            (&mut self.cpu_ns, other.cpu_ns),
            (&mut self.voluntary, other.voluntary),
            (&mut self.involuntary, other.involuntary),
            (&mut self.run_queue_ns, other.run_queue_ns),
        ] {
            *own = other.map(|other| own.unwrap_or(0).saturating_add(other)).or(*own);
        }
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            cpu: SHARE,
            rss: BYTES,
            memory: SHARE,
            fds: COUNT,
            threads: COUNT,
            connections: COUNT,
            backlog: COUNT,
            switches: COUNT,
            involuntary: COUNT,
            run_queue: SHARE,
            busy: SHARE,
            rss_ends: None,
            segments: 0,
            retransmits: 0,
        }
    }
}

impl Usage {
    /// Resident memory at the last look against that at the first; none of fewer than two looks.
    pub fn rss_growth(&self) -> Option<f64> {
        let (first, last) = self.rss_ends.filter(|(first, _)| *first > 0 && self.rss.count() > 1)?;
        Some(last as f64 / first as f64 - 1.0)
    }

    pub(super) fn level(&mut self, [rss, fds, threads]: [Option<u64>; 3], limit: Option<u64>, weight: u64) {
        for (spread, level) in [(&mut self.rss, rss), (&mut self.fds, fds), (&mut self.threads, threads)] {
            if let Some(level) = level {
                spread.add(level, weight);
            }
        }
        if let Some(rss) = rss {
            self.rss_ends = Some((self.rss_ends.map_or(rss, |(first, _)| first), rss));
            if let Some(limit) = limit.filter(|limit| *limit > 0) {
                self.memory.add(share(rss, limit), weight);
            }
        }
    }

    pub(super) fn grown(&mut self, growth: Growth, cores: u32, passed_ns: u64) {
        let per_s =
            |n: u64| u64::try_from(u128::from(n) * 1_000_000_000 / u128::from(passed_ns)).unwrap_or(u64::MAX);
        let switches = growth.voluntary.zip(growth.involuntary).map(|(a, b)| a.saturating_add(b));
        for (spread, level) in [
            (&mut self.cpu, growth.cpu_ns.map(|ns| share(ns / u64::from(cores), passed_ns))),
            (&mut self.switches, switches.map(per_s)),
            (&mut self.involuntary, growth.involuntary.map(per_s)),
            (&mut self.run_queue, growth.run_queue_ns.map(|ns| share(ns, passed_ns))),
        ] {
            if let Some(level) = level {
                spread.add(level, passed_ns);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let spreads = [
            (&mut self.cpu, &other.cpu),
            (&mut self.rss, &other.rss),
            (&mut self.memory, &other.memory),
            (&mut self.fds, &other.fds),
            (&mut self.threads, &other.threads),
            (&mut self.connections, &other.connections),
            (&mut self.backlog, &other.backlog),
            (&mut self.switches, &other.switches),
            (&mut self.involuntary, &other.involuntary),
            (&mut self.run_queue, &other.run_queue),
            (&mut self.busy, &other.busy),
        ];
        for (own, other) in spreads {
            own.merge(other);
        }
        // The worse growth of the two stands for both.
        let ratio = |ends: Option<(u64, u64)>| ends.map(|(first, last)| last as f64 / first.max(1) as f64);
        if ratio(other.rss_ends) > ratio(self.rss_ends) {
            self.rss_ends = other.rss_ends;
        }
        self.segments = self.segments.saturating_add(other.segments);
        self.retransmits = self.retransmits.saturating_add(other.retransmits);
    }
}

/// Millionths.
pub(super) fn share(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * MILLION / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

impl Subject for Usage {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        let spread = match metric.quantity.name {
            "cpu" => &self.cpu,
            "rss" => &self.rss,
            "memory" => &self.memory,
            "fds" => &self.fds,
            "threads" => &self.threads,
            "connections" => &self.connections,
            "backlog" => &self.backlog,
            "switches" => &self.switches,
            "involuntary_switches" => &self.involuntary,
            "run_queue" => &self.run_queue,
            "busy" => &self.busy,
            "rss_growth" => {
                return Some(Evidence::Value { value: self.rss_growth(), samples: self.rss.count() });
            }
            "retransmit_rate" => {
                return Some(Evidence::Share { part: self.retransmits, whole: self.segments });
            }
            _ => return None,
        };
        Some(Evidence::Value { value: spread.stat(metric.stat?), samples: spread.count() })
    }
}
