//! GPUs in phases, stages and documents: by hand.

use std::sync::Arc;

use super::*;
use crate::aggregate::{Aggregate, Evidence, Phases, Subject as _};
use crate::correlate::Finding;
use crate::correlate::stage::{Began, DocEnd, StageRun};
use crate::event::{Busy, GpuDevice, GpuLook, GpuLost, GpuProcess, GpuSlow, Phase, Throttle};
use crate::profile::{Kind, Metric, Profile, Stat};

const S: u64 = 1_000_000_000;

fn device() -> Finding {
    Finding::Gpu(Gpu::Device(GpuDevice { memory_total_bytes: Some(100), ..GpuDevice::default() }))
}

/// A look, 300 ms past a second: how busy it was in the second behind it, where its energy counter stands, what memory is
/// in use and what holds its clocks down from now on.
fn look(second: u64, percent: u8, joules: u64, memory: u64, throttle: &[Throttle]) -> Finding {
    let ts_ns = second * S + 300_000_000;
    Finding::Gpu(Gpu::Look(GpuLook {
        ts_ns,
        busy: vec![Busy(ts_ns - S, ts_ns, percent)],
        memory_bytes: Some(memory),
        energy_mj: Some(joules * 1000),
        throttle: Some(throttle.to_vec()),
        took_ns: 1000,
        ..GpuLook::default()
    }))
}

fn slow(second: u64, sm: u8, temperature_c: u32) -> Finding {
    let process = GpuProcess { pid: 7, is_traced: true, sm: Some(sm), ..GpuProcess::default() };
    let (ts_ns, processes) = (second * S + 300_000_000, vec![process]);
    let temperature_c = Some(temperature_c);
    Finding::Gpu(Gpu::Slow(GpuSlow { ts_ns, temperature_c, processes, ..GpuSlow::default() }))
}

fn phases() -> Phases {
    Phases::new(Arc::new(Profile::builtin().unwrap()))
}

fn begin(phases: &mut Phases, second: u64, name: &str) {
    let ts_ns = second * S;
    let phase = Phase { ts_ns, name: name.to_owned(), judged: true, condition: None, is_between: false };
    phases.begin(&phase);
}

fn add(phases: &mut Phases, findings: &[Finding]) {
    for finding in findings {
        let Finding::Gpu(gpu) = finding else { unreachable!("GPUs only") };
        phases.add(finding, gpu.ts_ns());
    }
}

fn stats(numbers: &Aggregate) -> &GpuStats {
    numbers.gpus().each().next().unwrap().2
}

fn close_to(value: Option<f64>, expected: f64) {
    assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{value:?} is not {expected}");
}

/// Two phases whose border lies between two looks: each has exactly the time, the energy and the reasons of its own, and
/// nothing of it is missing in the other.
#[test]
fn a_look_across_a_border_is_divided() {
    let mut phases = phases();
    begin(&mut phases, 1, "a");
    add(&mut phases, &[device(), look(1, 0, 100, 10, &[]), slow(1, 0, 40)]);
    add(&mut phases, &[look(2, 100, 200, 20, &[Throttle::HwThermal]), slow(2, 100, 50)]);
    begin(&mut phases, 3, "b");
    add(&mut phases, &[look(3, 50, 300, 90, &[]), slow(3, 50, 60), look(4, 0, 700, 30, &[]), slow(4, 0, 70)]);
    // Long after its end nothing can be of the first phase any more.
    add(&mut phases, &[look(5, 0, 700, 30, &[]), look(6, 0, 700, 30, &[]), look(7, 0, 700, 30, &[])]);
    phases.finish();
    let [a, b] = phases.parts() else { panic!("{:?}", phases.parts().len()) };
    let (a, b, whole) = (stats(&a.numbers), stats(&b.numbers), stats(phases.whole()));
    // a: 0.3 s at 0 %, 1 s at 100 %, 0.7 s at 50 %; b: 0.3 s at 50 %, then idle.
    assert_eq!((a.whole().covered_ns, b.whole().covered_ns), (2 * S, 4 * S + 300_000_000));
    close_to(a.util.stat(Stat::Mean), 1.35 / 2.0);
    close_to(b.util.stat(Stat::Mean), 0.15 / 4.3);
    assert_eq!(a.whole().busy, 135 * S);
    // 100 J in the first second, 100 J in that of the border, 400 J in the next.
    assert_eq!(a.whole().energy_uj, Some(170_000_000));
    assert_eq!(b.whole().energy_uj, Some(430_000_000));
    // Held from 2.3 s to 3.3 s.
    assert_eq!((a.slowdown_ns, b.slowdown_ns), (700_000_000, 300_000_000));
    assert_eq!(a.throttle_ns[&Throttle::HwThermal], 700_000_000);
    close_to(a.slowdown_ratio(), 0.7 / 1.7);
    // A process was busy all of the second from 1.3 s on and half of the next.
    assert_eq!(a.processes[&7].sm, Some(u128::from(135 * S)));
    assert_eq!(b.processes[&7].sm, Some(u128::from(15 * S)));
    // What is read at a moment is of that moment's phase alone.
    assert_eq!((a.memory.count(), b.memory.count()), (2, 5));
    close_to(a.memory.stat(Stat::Max), 20.0);
    close_to(a.temperature.stat(Stat::Max), 50.0);
    close_to(b.temperature.stat(Stat::Min), 60.0);
    let looks: Vec<u64> = phases.parts().iter().map(|part| part.numbers.gpus().look().count()).collect();
    assert_eq!(looks, [2, 5]);
    // Together they are the run, but for what lies before the first phase.
    assert_eq!(whole.whole().energy_uj, Some(600_000_000));
    assert_eq!(whole.slowdown_ns, S);
    assert_eq!(whole.util.count(), 7);
}

/// What ends right before the end of a phase is joined with what the driver tells later.
#[test]
fn the_end_of_a_phase_is_not_cut_off() {
    let mut phases = phases();
    begin(&mut phases, 1, "a");
    add(&mut phases, &[device(), look(1, 0, 0, 10, &[]), look(2, 0, 0, 10, &[])]);
    let run = StageRun {
        doc: "d".to_owned(),
        stage: "ocr".to_owned(),
        index: None,
        pid: 1,
        tid: 1,
        began: Some((2 * S + 300_000_000, Began::Marker)),
        end_ns: 3 * S - 100_000_000,
        transition_ns: None,
        io_ns: None,
        is_again: false,
        file: 0,
    };
    phases.add(&Finding::Stage(Box::new(run)), 3 * S - 100_000_000);
    begin(&mut phases, 3, "b");
    add(&mut phases, &[look(3, 100, 500, 60, &[]), look(4, 0, 500, 10, &[])]);
    phases
        .add(&Finding::Stages { order: vec![("ocr".to_owned(), None)], near: Vec::new(), dropped: 0 }, 5 * S);
    phases.finish();
    let stages = phases.parts()[0].numbers.stages().stages();
    let [("ocr", None, stage)] = stages.as_slice() else { panic!("{stages:?}") };
    let overlap = &stage.gpus[&0];
    assert_eq!((overlap.intervals, overlap.covered_ns), (1, 600_000_000));
    close_to(overlap.util(), 1.0);
    assert_eq!(overlap.energy_uj, Some(300_000_000));
    assert_eq!(overlap.memory_bytes, Some(10));
}

/// Everything that objectives ask for, of the whole and of nothing.
#[test]
fn every_metric_has_its_evidence() {
    let value = |stats: &GpuStats, name: &str| match stats.evidence(Metric::parse(Kind::Gpu, name).unwrap()) {
        Some(Evidence::Value { value, .. }) => value,
        other => panic!("{name}: {other:?}"),
    };
    for metric in Metric::all(Kind::Gpu) {
        assert_eq!(value(&GpuStats::new(Within::ALL), &metric.to_string()), None, "{metric}");
    }
    let mut phases = phases();
    add(&mut phases, &[device(), look(1, 0, 100, 10, &[]), slow(1, 0, 40)]);
    add(&mut phases, &[look(2, 50, 400, 85, &[Throttle::SwPowerCap]), look(3, 100, 700, 20, &[])]);
    for is_complete in [true, true, false, true] {
        let end = DocEnd {
            doc: "d".to_owned(),
            is_complete,
            is_begun: true,
            is_resumed: false,
            last: None,
            since_ns: 2 * S,
            took_ns: None,
        };
        phases.add(&Finding::Document(end), 2 * S);
    }
    let stats = stats(phases.whole());
    for (name, expected) in [
        ("util.mean", 0.5),
        ("idle", 0.5),
        ("memory.max", 0.85),
        ("memory_bytes.max", 85.0),
        ("temperature.max", 40.0),
        ("throttled", 0.5),
        // 600 J, three documents.
        ("energy_per_document", 200.0),
    ] {
        close_to(value(stats, name), expected);
    }
    assert_eq!(value(stats, "ecc_uncorrected"), None, "not read is not 0");
    add(&mut phases, &[Finding::Gpu(Gpu::Lost(GpuLost { ts_ns: 4 * S, ..GpuLost::default() }))]);
    let lost = self::stats(phases.whole()).evidence(Metric::parse(Kind::Gpu, "idle").unwrap());
    assert!(matches!(lost, Some(Evidence::Doubtful("the GPU stopped answering"))), "{lost:?}");
}
