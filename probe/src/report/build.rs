//! From the numbers of a run to its report.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{
    Accept, Breakdown, Distribution, Endpoint, GpuLooks, Health, Listener, Phase, PhaseLoad, ProfileId,
    Report, Run, SCHEMA, Syscall, Target, WebSocket,
};
use super::{budget, build_gpu, condition, course, databases, outgoing, resources, series, stage, warnings};
use crate::aggregate::{Aggregate, EndpointStats, ListenerStats, Phases};
use crate::event::{Course, EndedBy, Load, LoadOutcome, Proof, Summary};
use crate::profile::Profile;
use crate::slo::{Confidence, Judgement, judge, overall};

const NS_PER_S: f64 = 1e9;

/// The only phase of a run without others.
pub(super) const RUN: &str = "run";

/// Everything together, in the place of an endpoint's name.
pub(super) const ALL_ENDPOINTS: &str = "all endpoints";

/// One phase with its numbers.
pub(super) struct Span<'a> {
    pub(super) phase: Phase,
    pub(super) duration_s: f64,
    pub(super) numbers: &'a Aggregate,
    /// What is known of its network condition.
    pub(super) proof: Option<&'a Proof>,
}

/// Judges a run and puts together its report. The same input gives the same report, to the byte.
pub fn build(summary: &Summary, profile: &Profile, phases: &Phases, course: &Course) -> Report {
    let whole = phases.whole();
    let spans = spans(summary, phases, &course.loads);
    let duration_s = summary.end_ns.saturating_sub(summary.start_ns) as f64 / NS_PER_S;
    let is_finished = summary.ended_by != EndedBy::Unfinished;
    let lost = summary.lost.values().fold(0u64, |sum, lost| sum.saturating_add(*lost));
    let loss_ratio = lost as f64 / summary.events.saturating_add(lost).max(1) as f64;
    let undecoded_ratio = undecoded_ratio(summary, whole);
    let confidence = |span: &Span<'_>| Confidence {
        duration_s: span.duration_s,
        loss_ratio,
        undecoded_ratio,
        is_finished,
        drift: course::drift(summary, phases, span, 0.0),
        too_short: course::too_short(phases, span),
        sampled: budget::sampled(summary, course, span),
        sampled_stages: budget::sampled_stages(summary, course, span, profile),
        without_statements: budget::without_statements(summary, course, span),
        doubt: doubt_of(summary, span, profile),
    };
    let mut objectives: Vec<Judgement> = spans
        .iter()
        .filter(|span| span.phase.judged)
        .flat_map(|span| judge(profile, span.numbers, &span.phase.name, &confidence(span)))
        .collect();
    objectives.extend(course::verdicts(course, summary, profile, &spans));
    let mut remarks = course::warnings(summary, phases, &spans);
    remarks.extend(stage::doubts(profile, whole.stages()));
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        run: run(summary, profile, duration_s, is_finished),
        health: Health {
            events: summary.events,
            lost: is_finished.then_some(lost),
            loss_ratio: is_finished.then_some(loss_ratio),
            lost_by_cause: summary.lost.clone(),
            bpf_cpu_ratio: summary.bpf_cpu_ratio,
            agent_cpu_ratio: is_finished.then_some(summary.agent_cpu_ratio),
            agent_rss_bytes: is_finished.then_some(summary.agent_rss_bytes),
            budget: budget::section(summary, course),
            attach_s: is_finished.then_some(summary.attach_s),
            gpu: (whole.gpus().look().count() > 0).then(|| GpuLooks {
                look_s: Distribution::from(whole.gpus().look()),
                cpu_ratio: summary.gpu_cpu_ratio,
            }),
            blind_spots: budget::blind_spots(summary, course),
        },
        accept: Accept { listeners: listeners(summary, whole) },
        endpoints: spans.iter().flat_map(endpoints).collect(),
        overall: endpoint(ALL_ENDPOINTS, RUN, whole.overall(), duration_s),
        overall_by_phase: overall_by_phase(phases, &spans),
        outgoing: spans.iter().flat_map(outgoing::calls).collect(),
        series: series::of(summary, whole),
        websockets: spans.iter().flat_map(websockets).collect(),
        syscalls: syscalls(summary),
        sqlite: spans
            .iter()
            .flat_map(|span| databases::section(&span.numbers.databases, &span.phase.name))
            .collect(),
        pipeline: spans
            .iter()
            .filter_map(|span| {
                let table = span.numbers.stages();
                stage::pipeline(profile, table, &span.phase.name, span.duration_s, summary.end_ns)
            })
            .collect(),
        stages: spans.iter().flat_map(|span| stage::stages(span.numbers, &span.phase.name)).collect(),
        checkpoints: spans
            .iter()
            .flat_map(|span| stage::checkpoints(profile, span.numbers.stages(), &span.phase.name))
            .collect(),
        files: stage::files(summary),
        slow_calls: spans
            .iter()
            .filter_map(|span| stage::slow_calls(span.numbers.stages(), &span.phase.name, summary.start_ns))
            .collect(),
        write_stalls: stage::write_stalls(summary),
        disks: stage::disks(summary),
        gpu: spans
            .iter()
            .flat_map(|span| build_gpu::gpus(span.numbers, summary.start_ns, &span.phase.name))
            .collect(),
        conditions: spans.iter().flat_map(condition::of).collect(),
        resources: spans.iter().filter_map(resources::used).collect(),
        resource_history: resources::moments(summary, whole),
        gpu_history: build_gpu::history(whole, summary),
        lock_waits: series::lock_waits(summary, whole),
        verdict: overall(&objectives),
        objectives,
        phases: spans.into_iter().map(|span| span.phase).collect(),
        comparison: None,
        warnings: Vec::new(),
    };
    report.warnings = warnings::find(&report, whole.n_folded_endpoints(), whole.outgoing().n_folded());
    report.warnings.extend(budget::warning(summary));
    report.warnings.extend(remarks);
    report
}

fn run(summary: &Summary, profile: &Profile, duration_s: f64, is_finished: bool) -> Run {
    Run {
        id: summary.run_id.clone(),
        started_at: summary.started_at.clone(),
        duration_s,
        ended_by: is_finished.then_some(summary.ended_by),
        host: summary.host.clone(),
        kernel: summary.kernel.clone(),
        target: Target {
            pid: summary.target_pid,
            cmdline: summary.target_cmdline.clone(),
            processes: is_finished.then_some(summary.processes),
        },
        profile: ProfileId { name: profile.name.clone(), sha256: profile.sha256.clone() },
    }
}

/// Why nothing that was measured in a phase says anything.
fn doubt_of(summary: &Summary, span: &Span<'_>, profile: &Profile) -> Option<String> {
    let of_load = || span.phase.load.as_ref().and_then(|load| doubt_of_load(load, profile));
    course::suspended(summary).or_else(|| doubt_of_condition(span)).or_else(of_load)
}

/// All endpoints together in each phase; nothing in a run without.
fn overall_by_phase(phases: &Phases, spans: &[Span<'_>]) -> Vec<Endpoint> {
    let overall = spans.iter().map(|span| endpoint_of(ALL_ENDPOINTS, span, span.numbers.overall()));
    overall.filter(|_| !phases.parts().is_empty()).collect()
}

/// The phases of a run; one of its whole length where it has none.
fn spans<'a>(summary: &Summary, phases: &'a Phases, loads: &[Load]) -> Vec<Span<'a>> {
    let since = |ns: u64| ns.saturating_sub(summary.start_ns) as f64 / NS_PER_S;
    let span = |name: &str, start_ns, end_ns, judged, net: Option<String>, numbers, proof| {
        let load = loads.iter().find(|load| load.phase == name);
        let load = load.map(|load| PhaseLoad { outcome: load.outcome, busiest_thread: load.busiest_thread });
        let (start_s, end_s) = (since(start_ns), since(end_ns));
        let phase = Phase { name: name.to_owned(), start_s, end_s, judged, net, load };
        Span { phase, duration_s: (end_s - start_s).max(0.0), numbers, proof }
    };
    let parts = phases.parts();
    if parts.is_empty() {
        return vec![span(RUN, summary.start_ns, summary.end_ns, true, None, phases.whole(), None)];
    }
    let ends = parts.iter().skip(1).map(|part| part.start_ns).chain([summary.end_ns]);
    let parts = parts.iter().zip(ends);
    parts
        .filter(|(part, _)| !part.is_between)
        .map(|(part, end_ns)| {
            let (condition, proof) = (part.condition.clone(), part.proof.as_ref());
            span(&part.name, part.start_ns, end_ns, part.judged, condition, &part.numbers, proof)
        })
        .collect()
}

/// What was measured without the condition that was asked for is no answer.
fn doubt_of_condition(span: &Span<'_>) -> Option<String> {
    let net = span.phase.net.as_ref()?;
    let Some(proof) = span.proof else {
        return Some(format!("the network condition `{net}` was not injected"));
    };
    let what = if proof.conditions.is_empty() { "was not injected" } else { "is not proved" };
    (!proof.is_proved())
        .then(|| format!("the network condition `{net}` {what}: {}", proof.problems.join("; ")))
}

/// Why the load of a phase makes its numbers say nothing about the target.
fn doubt_of_load(load: &PhaseLoad, profile: &Profile) -> Option<String> {
    match load.outcome {
        LoadOutcome::Failed { code } => Some(format!("the load command failed with exit code {code}")),
        LoadOutcome::Killed { signal } => Some(format!("the load command was killed by signal {signal}")),
        LoadOutcome::Overran => {
            Some("the load command did not end with its phase and was stopped".to_owned())
        }
        LoadOutcome::Ok { .. } | LoadOutcome::Stopped => None,
    }
    .or_else(|| {
        load.busiest_thread.filter(|busy| *busy > profile.load.saturation).map(|busy| {
            format!(
                "the load generator was saturated: one of its threads used {:.0} % of a core",
                busy * 100.0
            )
        })
    })
}

fn websockets<'a>(span: &'a Span<'a>) -> impl Iterator<Item = WebSocket> + 'a {
    span.numbers.websockets().into_iter().map(|(route, stats)| WebSocket {
        route: route.to_owned(),
        phase: span.phase.name.clone(),
        connections: stats.connections,
        messages_in: stats.messages_in,
        messages_out: stats.messages_out,
        bytes_in: stats.bytes_in,
        bytes_out: stats.bytes_out,
        delivery_s: Distribution::from(&stats.delivery),
        ping_rtt_s: Distribution::from(&stats.ping_rtt),
        reply_s: Distribution::from(&stats.reply),
        reconnects: stats.reconnects,
    })
}

fn endpoints<'a>(span: &'a Span<'a>) -> impl Iterator<Item = Endpoint> + 'a {
    span.numbers.endpoints().into_iter().map(|(name, stats)| endpoint_of(name, span, stats))
}

fn endpoint_of(name: &str, span: &Span<'_>, stats: &EndpointStats) -> Endpoint {
    endpoint(name, &span.phase.name, stats, span.duration_s)
}

/// Answers by class; only classes that happened.
pub(super) fn statuses(stats: &EndpointStats) -> BTreeMap<String, u64> {
    const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let statuses = CLASSES.iter().zip(stats.statuses).filter(|(_, count)| *count > 0);
    statuses.map(|(class, count)| ((*class).to_owned(), count)).collect()
}

fn endpoint(name: &str, phase: &str, stats: &EndpointStats, duration_s: f64) -> Endpoint {
    Endpoint {
        endpoint: name.to_owned(),
        phase: phase.to_owned(),
        requests: stats.requests,
        errors: stats.errors,
        aborted: stats.aborted,
        in_flight: stats.in_flight,
        untimed: stats.untimed,
        statuses: statuses(stats),
        rate_per_s: (duration_s > 0.0).then(|| stats.requests as f64 / duration_s),
        latency_s: Distribution::from(&stats.latency),
        failed_latency_s: Distribution::from(&stats.failed_latency),
        breakdown: Breakdown {
            accept_queue_s: Distribution::from(&stats.accept_queue),
            receive_queue_s: Distribution::from(&stats.receive_queue),
            read_s: Distribution::from(&stats.read),
            app_s: Distribution::from(&stats.app),
            write_s: Distribution::from(&stats.write),
        },
        delivery_s: Distribution::from(&stats.delivery),
        bytes_in: stats.bytes_in,
        bytes_out: stats.bytes_out,
    }
}

/// Connections that could not be decoded among all that were accepted during the run.
fn undecoded_ratio(summary: &Summary, aggregate: &Aggregate) -> f64 {
    let listeners = aggregate.listeners().values().chain(aggregate.unix_listeners().values());
    let accepted: u64 = listeners.map(|listener| listener.accepted).sum();
    // Connections older than the attach are in no accept.
    let all = accepted.max(summary.undecoded_connections).max(1);
    summary.undecoded_connections as f64 / all as f64
}

fn listeners(summary: &Summary, aggregate: &Aggregate) -> Vec<Listener> {
    let mut known: BTreeMap<u16, Vec<&crate::event::Listener>> = BTreeMap::new();
    for listener in &summary.listeners {
        known.entry(listener.port).or_default().push(listener);
    }
    let ports: BTreeSet<u16> = known.keys().chain(aggregate.listeners().keys()).copied().collect();
    let nothing = ListenerStats::default();
    ports
        .into_iter()
        .map(|port| {
            let sockets = known.get(&port).map(Vec::as_slice).unwrap_or_default();
            let stats = aggregate.listeners().get(&port).unwrap_or(&nothing);
            // Workers with SO_REUSEPORT listen on one address with a socket each.
            let addrs: BTreeSet<String> = sockets.iter().map(|socket| socket.addr.to_string()).collect();
            let overflows = sockets.iter().map(|socket| socket.overflows);
            Listener {
                addr: (!addrs.is_empty()).then(|| addrs.into_iter().collect::<Vec<_>>().join(",")),
                port,
                accepted: stats.accepted,
                abandoned: stats.abandoned,
                queue_wait_s: Distribution::from(&stats.queue_wait),
                overflows: if sockets.is_empty() {
                    None
                } else {
                    overflows.reduce(|a, b| Some(a?.saturating_add(b?))).flatten()
                },
                backlog_max: sockets
                    .iter()
                    .map(|socket| socket.backlog_seen)
                    .fold(stats.backlog_max, u32::max),
                backlog_limit: sockets.iter().filter_map(|socket| socket.backlog_limit).max(),
            }
        })
        .chain(unix_listeners(aggregate))
        .collect()
}

fn unix_listeners(aggregate: &Aggregate) -> impl Iterator<Item = Listener> {
    aggregate.unix_listeners().iter().map(|(path, stats)| Listener {
        addr: Some(format!("unix:{path}")),
        port: 0,
        accepted: stats.accepted,
        abandoned: stats.abandoned,
        queue_wait_s: Distribution::from(&stats.queue_wait),
        overflows: None,
        backlog_max: stats.backlog_max,
        backlog_limit: None,
    })
}

fn syscalls(summary: &Summary) -> Vec<Syscall> {
    let mut stats: Vec<_> = summary.syscalls.iter().collect();
    stats.sort_by_key(|stats| (&stats.role, &stats.op, &stats.mode));
    stats
        .into_iter()
        .map(|stats| Syscall {
            op: stats.op.clone(),
            role: stats.role.clone(),
            mode: stats.mode.clone(),
            calls: stats.calls,
            would_block: stats.would_block,
            errors: stats.errors,
            latency_s: Distribution::from(&stats.took),
            bytes: stats.bytes,
        })
        .collect()
}
