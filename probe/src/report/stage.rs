//! The parts of the report that are about files, checkpoints and stages.

use super::model::{
    Checkpoint, Disk, DiskRequests, Distribution, FileCalls, Pipeline, Shares, SlowCall, SlowCalls, Stage,
    Stuck, WriteStalls,
};
use crate::aggregate::{Aggregate, StageTable};
use crate::event::{self, DiskStats, Summary};
use crate::profile::{Profile, StageRules};

const NS_PER_S: f64 = 1e9;

/// Calls on files, by class.
pub(super) fn files(summary: &Summary) -> Vec<FileCalls> {
    summary
        .files
        .iter()
        .map(|stats| FileCalls {
            class: stats.class.clone(),
            op: stats.op.clone(),
            calls: stats.calls,
            errors: stats.errors,
            latency_s: Distribution::from(&stats.took),
            bytes: stats.bytes,
        })
        .collect()
}

/// Calls that were slow; none where there was none.
pub(super) fn slow_calls(table: &StageTable, phase: &str, start_ns: u64) -> Option<SlowCalls> {
    let slow = table.slow();
    (slow.calls > 0).then(|| SlowCalls {
        phase: phase.to_owned(),
        calls: slow.calls,
        took_s: slow.took_ns as f64 / NS_PER_S,
        slowest: slow
            .slowest
            .iter()
            .map(|call| SlowCall {
                path: call.path.clone(),
                op: call.op.clone(),
                class: call.class.clone(),
                tid: call.tid,
                at_s: call.ts_ns.saturating_sub(start_ns) as f64 / NS_PER_S,
                took_s: call.took_ns as f64 / NS_PER_S,
            })
            .collect(),
    })
}

/// Writes that were held back; none where there was none.
pub(super) fn write_stalls(summary: &Summary) -> Option<WriteStalls> {
    let stall_s = Distribution::from(&summary.write_stalls);
    (stall_s.count > 0).then_some(WriteStalls { calls: stall_s.count, stall_s })
}

/// The disks below.
pub(super) fn disks(summary: &Summary) -> Vec<Disk> {
    let run_ms = summary.end_ns.saturating_sub(summary.start_ns) as f64 / 1e6;
    let mean = |ms: u64, requests: u64| (requests > 0).then(|| ms as f64 / requests as f64 / 1e3);
    let requests = |requests: &event::DiskRequests| DiskRequests {
        op: requests.op.clone(),
        requests: requests.requests,
        errors: requests.errors,
        bytes: requests.bytes,
        latency_s: Distribution::from(&requests.took),
        queue_s: Distribution::from(&requests.queued),
    };
    let disk = |disk: &DiskStats| Disk {
        device: disk.device.clone(),
        util_ratio: (run_ms > 0.0).then(|| (disk.busy_ms as f64 / run_ms).min(1.0)),
        reads: disk.reads,
        writes: disk.writes,
        read_bytes: disk.read_bytes,
        write_bytes: disk.write_bytes,
        read_s: mean(disk.read_ms, disk.reads),
        write_s: mean(disk.write_ms, disk.writes),
        queue: (run_ms > 0.0).then(|| disk.queue_ms as f64 / run_ms),
        requests: disk.requests.iter().map(requests).collect(),
    };
    summary.disks.iter().map(disk).collect()
}

/// One per rule that any file matched.
pub(super) fn checkpoints(profile: &Profile, table: &StageTable, phase: &str) -> Vec<Checkpoint> {
    let rules: &StageRules = &profile.stages;
    let one = |(rule, stats): (&usize, &crate::aggregate::CheckpointStats)| {
        Some(Checkpoint {
            pattern: rules.rules.get(*rule)?.source.clone(),
            phase: phase.to_owned(),
            guessed: rules.is_guess,
            files: stats.files,
            edits: stats.edits,
            never_placed: stats.lost,
            mapped: stats.mapped,
            bytes: stats.bytes,
            writes: stats.writes,
            fsyncs: stats.syncs,
            total_s: Distribution::from(&stats.total),
            io_s: Distribution::from(&stats.io),
            write_s: Distribution::from(&stats.write),
            fsync_s: Distribution::from(&stats.sync),
            rename_s: Distribution::from(&stats.rename),
            errors: stats.errors.iter().map(|(errno, count)| (errno_name(*errno), *count)).collect(),
            growth_ratio: stats.growth_ratio(),
        })
    };
    table.checkpoints().iter().filter_map(one).collect()
}

/// In their order.
pub(super) fn stages(numbers: &Aggregate, phase: &str) -> Vec<Stage> {
    let stages = numbers.stages().stages().into_iter().map(|(name, index, stats)| {
        let (file_io, sqlite_wait, gpu_busy) = (stats.file_share(), stats.sqlite_share(), stats.gpu_share());
        let known = [file_io, sqlite_wait, gpu_busy].into_iter().flatten().reduce(|a, b| a + b);
        Stage {
            stage: name.to_owned(),
            index,
            phase: phase.to_owned(),
            documents: stats.runs,
            repeated: stats.again,
            untimed: stats.untimed,
            time_s: Distribution::from(&stats.time),
            transition_s: Distribution::from(&stats.transition),
            // A GPU works while files are read as well: the parts can be more than the whole.
            shares: Shares {
                file_io,
                sqlite_wait,
                gpu_busy,
                other: known.map(|known| (1.0 - known).max(0.0)),
            },
        }
    });
    stages.collect()
}

/// None where no document was seen.
pub(super) fn pipeline(
    profile: &Profile,
    table: &StageTable,
    phase: &str,
    duration_s: f64,
    end_ns: u64,
) -> Option<Pipeline> {
    let stats = table.pipeline();
    let (part, whole) = if stats.begun > 0 {
        (stats.begun_completed, stats.begun)
    } else {
        (stats.completed, stats.documents)
    };
    (stats.documents > 0).then(|| Pipeline {
        phase: phase.to_owned(),
        guessed: profile.stages.is_guess,
        documents: stats.documents,
        begun: stats.begun,
        completed: stats.completed,
        completion_ratio: (whole > 0).then(|| part as f64 / whole as f64),
        documents_per_min: (duration_s > 0.0).then(|| stats.completed as f64 * 60.0 / duration_s),
        in_flight: stats.documents - stats.completed,
        resumed: stats.resumed,
        repeated_stages: table.stages().iter().map(|(_, _, stats)| stats.again).sum(),
        time_s: Distribution::from(&stats.time),
        transition_s: Distribution::from(&stats.transition),
        stuck: stats
            .stuck
            .iter()
            .map(|(doc, after, since_ns)| Stuck {
                doc: doc.clone(),
                after: after.clone(),
                quiet_s: end_ns.saturating_sub(*since_ns) as f64 / NS_PER_S,
            })
            .collect(),
    })
}

/// The names that users know, of the errors that files bring.
fn errno_name(errno: u32) -> String {
    let name = match errno {
        2 => "ENOENT",
        4 => "EINTR",
        5 => "EIO",
        13 => "EACCES",
        17 => "EEXIST",
        18 => "EXDEV",
        20 => "ENOTDIR",
        21 => "EISDIR",
        27 => "EFBIG",
        28 => "ENOSPC",
        30 => "EROFS",
        116 => "ESTALE",
        122 => "EDQUOT",
        _ => return format!("errno {errno}"),
    };
    name.to_owned()
}

/// What is wrong with the rules.
pub(super) fn doubts(profile: &Profile, table: &StageTable) -> Vec<String> {
    let mut doubts = Vec::new();
    let stats = table.pipeline();
    let rules = &profile.stages;
    if !rules.is_guess && !rules.rules.is_empty() && table.stages().is_empty() {
        let patterns: Vec<&str> = rules.rules.iter().map(|rule| rule.source.as_str()).collect();
        let near = if stats.near.is_empty() {
            "no file that could be one was written".to_owned()
        } else {
            format!("written were {}", stats.near.join(", "))
        };
        doubts.push(format!("No checkpoint matched the stage rules ({}): {near}.", patterns.join(", ")));
    }
    if stats.dropped > 0 {
        doubts.push(format!(
            "{} stages belong to documents past the first 50000, which are not followed.",
            stats.dropped
        ));
    }
    doubts
}
