//! Levels from looks that were made up.

use proptest::prelude::*;

use super::*;
use crate::aggregate::Evidence;
use crate::event::{DiskLook, MachineLook};
use crate::profile::{Kind, Metric, Percentile, Stat};

const S: u64 = 1_000_000_000;

fn process(pid: u32, cpu_ns: u64, rss_bytes: u64) -> ProcessLook {
    ProcessLook {
        pid,
        comm: "python".to_owned(),
        cpu_ns: Some(cpu_ns),
        rss_bytes: Some(rss_bytes),
        fds: Some(10),
        threads: 2,
        voluntary: Some(cpu_ns / 1_000_000),
        involuntary: Some(0),
        run_queue_ns: Some(cpu_ns / 10),
    }
}

fn look(ts_ns: u64, processes: Vec<ProcessLook>) -> Resources {
    let machine = MachineLook {
        cpus: 2,
        busy_ms: Some(ts_ns / 1_000_000),
        total_ms: Some(ts_ns / 500_000),
        memory_limit_bytes: Some(1000 << 20),
        segments: Some(100 * (ts_ns / S)),
        retransmits: Some(ts_ns / S),
    };
    let disks = vec![DiskLook { device: "vda".to_owned(), busy_ms: ts_ns / 4_000_000 }];
    Resources { ts_ns, processes, machine, connections: Some(7), backlog: Some(1), disks }
}

fn value(stats: &ResourceStats, subject: &str, metric: &str) -> Option<f64> {
    let metric = Metric::parse(Kind::Resource, metric).unwrap();
    let subjects = stats.subjects();
    let (_, subject) = subjects.iter().find(|(name, _)| name == subject)?;
    match subject.evidence(metric)? {
        Evidence::Value { value, .. } => value,
        Evidence::Share { part, whole } => (whole > 0).then(|| part as f64 / whole as f64),
        _ => None,
    }
}

/// Two workers, one of which takes half a core and grows by half; a third comes and goes.
#[test]
fn levels_are_those_of_the_looks() {
    let mut stats = ResourceStats::default();
    let mib = 1 << 20;
    stats.add(&look(10 * S, vec![process(1, 100 * S, 100 * mib), process(2, 5, 100 * mib)]));
    stats.add(&look(11 * S, vec![process(1, 100 * S + S / 2, 120 * mib), process(2, 5, 100 * mib)]));
    stats.add(&look(
        13 * S,
        vec![process(1, 101 * S + S / 2, 150 * mib), process(2, 5, 100 * mib), process(3, S, 50 * mib)],
    ));
    let near = |subject, metric, expected: f64| {
        let got = value(&stats, subject, metric).unwrap_or_else(|| panic!("no {metric} of {subject}"));
        assert!((got - expected).abs() < 2e-3 * expected.abs().max(0.1), "{metric} of {subject}: {got}");
    };
    near("process python 1", "cpu.mean", 0.5);
    near("process python 2", "cpu.max", 0.0);
    near("process python 3", "cpu.max", 0.5);
    // A quarter of two cores for a second, then half of them for two.
    near("target", "cpu.mean", (0.25 + 2.0 * 0.5) / 3.0);
    near("target", "rss_growth", 0.5);
    near("process python 1", "rss_growth", 0.5);
    near("target", "memory.max", 0.3);
    near("target", "fds.max", 30.0);
    near("target", "threads.min", 4.0);
    near("target", "connections.max", 7.0);
    near("target", "switches.max", 1000.0);
    near("process python 1", "run_queue.mean", 0.05);
    near("machine", "cpu.mean", 0.5);
    near("machine", "retransmit_rate", 0.01);
    near("disk vda", "busy.p95", 0.25);
    assert_eq!(value(&stats, "machine", "rss.max"), None, "what a subject does not have is no value");
}

#[test]
fn a_phase_goes_on_from_the_last_look() {
    let mut whole = ResourceStats::default();
    whole.add(&look(10 * S, vec![process(1, 50 * S, 1 << 20)]));
    let mut phase = whole.after();
    assert!(phase.subjects().is_empty());
    phase.add(&look(11 * S, vec![process(1, 51 * S, 1 << 20)]));
    assert_eq!(value(&phase, "process python 1", "cpu.max"), Some(1.0));
    assert_eq!(value(&phase, "target", "rss_growth"), None, "one look has no growth");
}

proptest! {
    /// Whatever a recording says, memory is bounded and nothing panics.
    #[test]
    fn any_looks(looks in prop::collection::vec((any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>()), 0..400)) {
        let mut stats = ResourceStats::default().with_history();
        for (ts_ns, pid, cpu, rss) in looks {
            stats.add(&look(ts_ns, vec![process(pid, cpu, rss)]));
        }
        prop_assert!(stats.processes.len() <= MAX_PROCESSES);
        prop_assert!(stats.history().unwrap().moments().len() <= 241);
        let target = &stats.target;
        prop_assert!(target.cpu.stat(Stat::Percentile(Percentile::P95)) <= target.cpu.stat(Stat::Max));
    }
}
