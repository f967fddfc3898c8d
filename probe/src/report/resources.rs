//! The section on resources, from their numbers.

use super::build::Span;
use super::model::{DiskResources, Distribution, ProcessResources, ResourceMoment, Resources};
use crate::aggregate::{Aggregate, History, Moment, Usage};
use crate::event::Summary;

/// What was used in a phase; none where nobody looked.
pub(super) fn used(span: &Span<'_>) -> Option<Resources> {
    let stats = span.numbers.resources();
    let target = &stats.target;
    (stats.looks > 0).then(|| Resources {
        phase: span.phase.name.clone(),
        looks: stats.looks,
        cpus: stats.cpus,
        cpu_ratio: Distribution::from(&target.cpu),
        machine_cpu_ratio: Distribution::from(&stats.machine.cpu),
        rss_bytes: Distribution::from(&target.rss),
        rss_start_bytes: target.rss_ends.map(|(first, _)| first),
        rss_end_bytes: target.rss_ends.map(|(_, last)| last),
        rss_growth_ratio: target.rss_growth(),
        memory_limit_bytes: stats.memory_limit_bytes,
        fds: Distribution::from(&target.fds),
        threads: Distribution::from(&target.threads),
        connections: Distribution::from(&target.connections),
        backlog: Distribution::from(&target.backlog),
        switches_per_s: Distribution::from(&target.switches),
        involuntary_per_s: Distribution::from(&target.involuntary),
        run_queue_ratio: Distribution::from(&target.run_queue),
        segments: stats.machine.segments,
        retransmits: stats.machine.retransmits,
        processes: stats.processes().map(|(pid, name, usage)| process(pid, name, usage)).collect(),
        disks: stats
            .disks()
            .map(|(device, usage)| DiskResources {
                device: device.to_owned(),
                busy_ratio: Distribution::from(&usage.busy),
            })
            .collect(),
    })
}

fn process(pid: u32, name: &str, usage: &Usage) -> ProcessResources {
    ProcessResources {
        name: name.to_owned(),
        pid,
        cpu_ratio: Distribution::from(&usage.cpu),
        rss_bytes: Distribution::from(&usage.rss),
        rss_growth_ratio: usage.rss_growth(),
        fds: Distribution::from(&usage.fds),
        threads: Distribution::from(&usage.threads),
        switches_per_s: Distribution::from(&usage.switches),
        run_queue_ratio: Distribution::from(&usage.run_queue),
    }
}

/// Over time.
pub(super) fn moments(summary: &Summary, whole: &Aggregate) -> Vec<ResourceMoment> {
    let ratio = |millionths: Option<u64>| millionths.map(|n| n as f64 / 1e6);
    let moment = |(ts_ns, moment): &(u64, Moment)| ResourceMoment {
        at_s: ts_ns.saturating_sub(summary.start_ns) as f64 / 1e9,
        cpu_ratio: ratio(moment.cpu),
        machine_cpu_ratio: ratio(moment.machine_cpu),
        run_queue_ratio: ratio(moment.run_queue),
        rss_bytes: moment.rss_bytes,
        fds: moment.fds,
        connections: moment.connections,
    };
    whole.resources().history().into_iter().flat_map(History::moments).map(moment).collect()
}
