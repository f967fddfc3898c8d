//! The section on GPUs, from their numbers.

use super::model::{Distribution, Gpu, GpuHistory, GpuInstance, GpuOverlap, GpuPoint, GpuProcess, GpuStage};
use crate::aggregate::{Aggregate, GpuStats, OverlapStats, ProcessStats, Spread};
use crate::event::Summary;
use crate::profile::{Percentile, Stat};

const NS_PER_S: f64 = 1e9;
const UJ_PER_J: f64 = 1e6;

/// One for each GPU that answered.
pub(super) fn gpus(aggregate: &Aggregate, start_ns: u64, phase: &str) -> Vec<Gpu> {
    let gpus = aggregate.gpus().each();
    gpus.map(|(index, _, stats)| gpu(aggregate, index, stats, start_ns, phase)).collect()
}

/// Pieces of time that are told apart in a history.
const MAX_PIECES: u64 = 120;
/// A shorter piece would hold no more than a look.
const SHORTEST_NS: u64 = 500_000_000;

/// What each did over time.
pub(super) fn history(aggregate: &Aggregate, summary: &Summary) -> Vec<GpuHistory> {
    let length_ns = summary.end_ns.saturating_sub(summary.start_ns);
    let piece_ns = length_ns.div_ceil(MAX_PIECES).max(SHORTEST_NS);
    let since_start = |at_ns: u64| at_ns.saturating_sub(summary.start_ns) as f64 / NS_PER_S;
    let point = |stats: &GpuStats, from_ns: u64| {
        let to_ns = from_ns.saturating_add(piece_ns).min(summary.end_ns);
        let did = stats.over(from_ns, to_ns);
        let seconds = to_ns.saturating_sub(from_ns) as f64 / NS_PER_S;
        let util = (did.covered_ns > 0).then(|| did.busy as f64 / did.covered_ns as f64 / 100.0);
        let is_known = util.is_some() || did.energy_uj.is_some();
        is_known.then(|| GpuPoint {
            start_s: since_start(from_ns),
            end_s: since_start(to_ns),
            util,
            memory_bytes: did.memory_bytes,
            power_w: did.energy_uj.map(|uj| uj as f64 / UJ_PER_J / seconds),
        })
    };
    let starts = || (0..MAX_PIECES).map(|n| summary.start_ns.saturating_add(n.saturating_mul(piece_ns)));
    let points = |stats| {
        starts().take_while(|from_ns| *from_ns < summary.end_ns).filter_map(move |from| point(stats, from))
    };
    aggregate
        .gpus()
        .each()
        .map(|(index, _, stats)| GpuHistory { index, points: points(stats).collect() })
        .filter(|gpu| !gpu.points.is_empty())
        .collect()
}

fn gpu(aggregate: &Aggregate, index: u32, stats: &GpuStats, start_ns: u64, phase: &str) -> Gpu {
    let device = stats.device.clone().unwrap_or_default();
    let whole = stats.whole();
    let known_s = stats.throttle_known_ns as f64 / NS_PER_S;
    let throttles = stats.throttle_ns.iter();
    Gpu {
        index,
        phase: phase.to_owned(),
        uuid: device.uuid,
        name: device.name,
        driver: device.driver,
        lost_s: stats.lost_ns.map(|lost_ns| lost_ns.saturating_sub(start_ns) as f64 / NS_PER_S),
        covered_s: whole.covered_ns as f64 / NS_PER_S,
        util: Distribution::from(&stats.util),
        memory_util: Distribution::from(&stats.memory_util),
        memory_bytes: Distribution::from(&stats.memory),
        memory_total_bytes: device.memory_total_bytes,
        power_w: Distribution::from(&stats.power),
        power_limit_w: device.power_limit_mw.map(|mw| f64::from(mw) / 1e3),
        energy_j: whole.energy_uj.map(|uj| uj as f64 / UJ_PER_J),
        energy_from: whole.energy_uj.map(|_| {
            let from = if stats.is_energy_estimated() { "power" } else { "counter" };
            from.to_owned()
        }),
        energy_per_document_j: stats.energy_per_document_j(),
        temperature_c: Distribution::from(&stats.temperature),
        slowdown_c: device.slowdown_c,
        sm_clock_mhz: Distribution::from(&stats.sm_clock),
        memory_clock_mhz: Distribution::from(&stats.memory_clock),
        pcie_tx_bytes_per_s: Distribution::from(&stats.pcie_tx),
        pcie_rx_bytes_per_s: Distribution::from(&stats.pcie_rx),
        encoder_util: Distribution::from(&stats.encoder),
        decoder_util: Distribution::from(&stats.decoder),
        throttle_s: (known_s > 0.0).then(|| {
            throttles.map(|(reason, ns)| (reason.name().to_owned(), *ns as f64 / NS_PER_S)).collect()
        }),
        slowdown_ratio: stats.slowdown_ratio(),
        ecc_corrected: stats.grown(|counters| counters.ecc_corrected),
        ecc_uncorrected: stats.grown(|counters| counters.ecc_uncorrected),
        nvlink_errors: stats.grown(|counters| counters.nvlink_errors),
        pcie_replays: stats.grown(|counters| counters.pcie_replays),
        processes: stats
            .processes
            .iter()
            .map(|(pid, process)| of_process(Some(*pid).filter(|pid| *pid != 0), process, stats))
            .collect(),
        other_processes: stats.others.as_ref().map(|others| of_process(None, others, stats)),
        instances: stats
            .instances
            .iter()
            .map(|(index, instance)| GpuInstance {
                index: *index,
                uuid: instance.uuid.clone(),
                memory_bytes: Distribution::from(&instance.memory),
                memory_total_bytes: instance.memory_total_bytes,
            })
            .collect(),
        endpoints: aggregate
            .while_in_app(stats)
            .into_iter()
            .map(|(endpoint, overlap)| of_overlap(endpoint, overlap))
            .collect(),
        stages: stages(aggregate, index),
    }
}

/// In the order of the stages.
fn stages(aggregate: &Aggregate, gpu: u32) -> Vec<GpuStage> {
    let stages = aggregate.stages().stages().into_iter();
    let joined = stages.filter_map(|(stage, _, stats)| Some((stage, stats.gpus.get(&gpu)?)));
    joined
        .map(|(stage, overlap)| GpuStage {
            stage: stage.to_owned(),
            documents: overlap.intervals,
            covered_s: overlap.covered_ns as f64 / NS_PER_S,
            util: overlap.util(),
            energy_j: energy_each_j(overlap),
            memory_bytes: overlap.memory_bytes,
        })
        .collect()
}

/// Joules, in the mean of the intervals.
fn energy_each_j(overlap: &OverlapStats) -> Option<f64> {
    overlap.energy_uj.map(|uj| uj as f64 / UJ_PER_J / overlap.intervals.max(1) as f64)
}

fn of_process(pid: Option<u32>, process: &ProcessStats, gpu: &GpuStats) -> GpuProcess {
    let known_ns = gpu.processes_known_ns;
    GpuProcess {
        pid,
        sm_util: process.sm.filter(|_| known_ns > 0).map(|sm| sm as f64 / known_ns as f64 / 100.0),
        memory_bytes: process.memory_bytes,
        instance: process.instance,
    }
}

fn of_overlap(endpoint: &str, overlap: &OverlapStats) -> GpuOverlap {
    GpuOverlap {
        endpoint: endpoint.to_owned(),
        requests: overlap.intervals,
        covered_s: overlap.covered_ns as f64 / NS_PER_S,
        util: overlap.util(),
        energy_j: energy_each_j(overlap),
        memory_bytes: overlap.memory_bytes,
    }
}

impl From<&Spread> for Distribution {
    fn from(spread: &Spread) -> Self {
        let percentile = |percentile| spread.stat(Stat::Percentile(percentile));
        Self {
            count: spread.count(),
            min: spread.stat(Stat::Min),
            mean: spread.stat(Stat::Mean),
            p50: percentile(Percentile::P50),
            p90: percentile(Percentile::P90),
            p95: percentile(Percentile::P95),
            p99: percentile(Percentile::P99),
            p999: percentile(Percentile::P999),
            max: spread.stat(Stat::Max),
        }
    }
}
