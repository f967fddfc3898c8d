//! Several runs as one: hosts behind one load balancer, or repetitions of one test.
//!
//! Runs that overlap in time stand beside one another; one that began after the others were over is moved to their end,
//! so that a night between two repetitions does not count as time without load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::Numbers;
use crate::aggregate::Phases;
use crate::event::{Abort, BlindSpot, Course, EndedBy, FileStats, StepDown, Summary, SyscallStats};
use crate::profile::Profile;

/// Puts runs together, or says why not.
pub fn merge(mut runs: Vec<Numbers>, profile: &Arc<Profile>) -> Result<Numbers, String> {
    if let Some(other) = runs.iter().find(|run| run.profile_sha256 != profile.sha256) {
        let id = &other.summary.run_id;
        return Err(format!(
            "run `{id}` was made with another profile, so that its endpoints have other names"
        ));
    }
    runs.sort_by_key(|run| (began(&run.summary), run.summary.run_id.clone()));
    let Some(first) = runs.first() else { return Err("there is no run to merge".to_owned()) };
    let (origin, start_ns) = (began(&first.summary), first.summary.start_ns);
    let mut phases = Phases::new(Arc::clone(profile));
    let mut course = Course::default();
    let mut summaries: Vec<Summary> = Vec::new();
    let mut end_ns = start_ns;
    for run in runs {
        let mut summary = run.summary;
        let offset_ns = match (origin, began(&summary)) {
            (Some(origin), Some(began)) => began.duration_since(origin).map_or(0, |offset| offset.as_nanos()),
            _ => 0,
        };
        let begins_ns =
            start_ns.saturating_add(u64::try_from(offset_ns).unwrap_or(u64::MAX)).min(end_ns.max(start_ns));
        let shift_ns = i64::try_from(i128::from(begins_ns) - i128::from(summary.start_ns)).unwrap_or(0);
        phases.add_saved(&run.phases, shift_ns);
        course.loads.extend(run.course.loads);
        if let Some(abort) = run.course.abort {
            let ts_ns = abort.ts_ns.saturating_add_signed(shift_ns);
            course.abort.get_or_insert(Abort { ts_ns, ..abort });
        }
        let moved = |step: StepDown| StepDown { ts_ns: step.ts_ns.saturating_add_signed(shift_ns), ..step };
        course.steps.extend(run.course.steps.into_iter().map(moved));
        summary.end_ns = summary.end_ns.saturating_add_signed(shift_ns);
        end_ns = end_ns.max(summary.end_ns);
        summaries.push(summary);
    }
    let summary = sum(summaries, start_ns, end_ns);
    Ok(Numbers::of(&summary, profile, &phases, &course))
}

/// The wall clock at the start of a run.
fn began(summary: &Summary) -> Option<SystemTime> {
    humantime::parse_rfc3339(&summary.started_at).ok()
}

fn sum(runs: Vec<Summary>, start_ns: u64, end_ns: u64) -> Summary {
    let texts = |of: fn(&Summary) -> &str| {
        let all: BTreeSet<&str> = runs.iter().map(of).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    };
    let total = |of: fn(&Summary) -> u64| runs.iter().map(of).fold(0u64, u64::saturating_add);
    let most = |of: fn(&Summary) -> f64| runs.iter().map(of).fold(0.0, f64::max);
    let (run_ids, hosts, kernels, cmdlines, machine) = (
        texts(|run| &run.run_id),
        texts(|run| &run.host),
        texts(|run| &run.kernel),
        texts(|run| &run.target_cmdline),
        texts(|run| &run.machine),
    );
    let events = total(|run| run.events);
    let undecoded_connections = total(|run| run.undecoded_connections);
    let (agent_cpu_ratio, attach_s) = (most(|run| run.agent_cpu_ratio), most(|run| run.attach_s));
    let bpf_cpu_ratio = runs.iter().filter_map(|run| run.bpf_cpu_ratio).reduce(f64::max);
    let agent_rss_bytes = runs.iter().map(|run| run.agent_rss_bytes).max().unwrap_or_default();
    let is_whole = runs.iter().all(|run| run.ended_by != EndedBy::Unfinished);
    let mut lost: BTreeMap<String, u64> = BTreeMap::new();
    let mut merged: Option<Summary> = None;
    for run in runs {
        for (cause, n) in &run.lost {
            let sum = lost.entry(cause.clone()).or_default();
            *sum = sum.saturating_add(*n);
        }
        let Some(merged) = &mut merged else {
            merged = Some(run);
            continue;
        };
        match (&mut merged.budget, run.budget) {
            (Some(merged), Some(other)) => merged.join(&other),
            (merged, other) => *merged = merged.or(other),
        }
        merged.processes = merged.processes.saturating_add(run.processes);
        let known = |spot: &_| !merged.blind_spots.contains(spot);
        let new: Vec<_> = run.blind_spots.into_iter().filter(known).collect();
        merged.blind_spots.extend(new);
        merged.listeners.extend(run.listeners);
        merged.write_stalls.join(&run.write_stalls);
        run.syscalls.into_iter().for_each(|calls| add_calls(&mut merged.syscalls, calls));
        run.files.into_iter().for_each(|calls| add_file_calls(&mut merged.files, calls));
    }
    let mut merged = merged.unwrap_or_default();
    merged.blind_spots.push(BlindSpot {
        what: "GPUs, SQLite databases, disks and network conditions, in the merged report".to_owned(),
        why: "runs do not keep what it takes to put them together".to_owned(),
        remedy: "see the reports of the runs".to_owned(),
    });
    Summary {
        start_ns,
        end_ns,
        run_id: format!("merged of {run_ids}"),
        host: hosts,
        kernel: kernels,
        machine,
        target_cmdline: cmdlines,
        ended_by: if is_whole { merged.ended_by } else { EndedBy::Unfinished },
        events,
        lost,
        bpf_cpu_ratio,
        agent_cpu_ratio,
        agent_rss_bytes,
        attach_s,
        undecoded_connections,
        disks: Vec::new(),
        ..merged
    }
}

/// Adds calls of one kind on files of one class.
fn add_file_calls(all: &mut Vec<FileStats>, calls: FileStats) {
    let Some(own) = all.iter_mut().find(|own| (&own.class, &own.op) == (&calls.class, &calls.op)) else {
        all.push(calls);
        return;
    };
    for (own, other) in
        [(&mut own.calls, calls.calls), (&mut own.errors, calls.errors), (&mut own.bytes, calls.bytes)]
    {
        *own = own.saturating_add(other);
    }
    own.took.join(&calls.took);
}

/// Adds calls of one kind.
fn add_calls(all: &mut Vec<SyscallStats>, calls: SyscallStats) {
    let kind = |of: &SyscallStats| (of.op.clone(), of.role.clone(), of.mode.clone());
    let Some(own) = all.iter_mut().find(|own| kind(own) == kind(&calls)) else {
        all.push(calls);
        return;
    };
    let counts = [
        (&mut own.calls, calls.calls),
        (&mut own.would_block, calls.would_block),
        (&mut own.errors, calls.errors),
        (&mut own.bytes, calls.bytes),
    ];
    for (own, other) in counts {
        *own = own.saturating_add(other);
    }
    own.took.join(&calls.took);
}
