//! One rung lower: without a hook that it can do without, a run counts what it always counts, times what it still can,
//! and says what is not seen.

use std::{fs, path::Path, process::Command};

use ::probe::{
    engine::{self, HookResult, Kernel, LoadConfig},
    probes::{
        self,
        rungs::{self, FALLBACKS, RAW_TRACEPOINTS},
    },
};
use anyhow::{Context as _, Result, ensure};
use probe_common::kfunc;
use probe_tests::{
    load::Load,
    probe::{self, Probe},
    say::say,
    server::Uvicorn,
};
use serde_json::Value;

use crate::{
    Suite, add,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(
        suite,
        every_hook_of_the_kernel_works,
        each_rung_counts_exactly,
        direct_reads_change_no_count,
        perf_tracepoints_change_no_count,
        what_interrupts_a_program_is_told,
        doctor_shows_the_rung,
    );
}

/// A hook works exactly where the kernel has it, by its own types and by its version; no kernel that is supported lacks one
/// that has no rung below it. What each room does without is shown.
fn every_hook_of_the_kernel_works() -> Result<()> {
    const BTF: &str = "/sys/kernel/btf/vmlinux";
    let types = fs::read(BTF).context("failed to read the kernel's types")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let config = LoadConfig {
        btf: Path::new(BTF),
        ring_bytes: 64 << 10,
        follow_children: true,
        rooms: probes::every_room(),
        without: &[],
    };
    let tried = Kernel::try_hooks(&config)?;
    ensure!(!tried.is_empty(), "no hook was tried");
    for HookResult { probe, hook, by_perf, result } in tried {
        let name = format!("\0btf_trace_{}\0", hook.tracepoint);
        let has_it = types.windows(name.len()).any(|text| text == name.as_bytes());
        let says = |what: &str| format!("{}: {what}, and trying it gave {result:?}", hook.tracepoint);
        ensure!(result.is_ok() == has_it, says(if has_it { "is there" } else { "is not there" }));
        ensure!(result.is_ok() == (version(&release) >= version(hook.since)), says(hook.since));
        ensure!(result.is_ok() || rungs::below(hook.program).is_some(), "no rung below {}", hook.program);
        ensure!(!matches!(by_perf, Some(Err(_))), "{}: perf's tracepoint gave {by_perf:?}", hook.tracepoint);
        let ending = if by_perf.is_some() { "perf" } else { "works" };
        say(&format!("hook {probe} {} {}", hook.tracepoint, if has_it { ending } else { "missing" }));
    }
    let functions = engine::try_functions(&config, &[])?;
    ensure!(functions.refused.is_empty() && !functions.placed.is_empty(), "{functions:?}");
    Ok(())
}

/// The first two numbers of a release.
fn version(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).take(2).map_while(|part| part.parse().ok()).collect()
}

/// Each rung by itself: exact counts on kept and fresh connections, its gap named, and times wherever the
/// arrival of a request is still seen.
fn each_rung_counts_exactly() -> Result<()> {
    let server = Uvicorn::new("asyncio", "h11").start()?;
    for rung in FALLBACKS {
        let program = rung.program;
        for load in
            [Load::fast(server.addr(), 4, 100, mix()), Load::fast(server.addr(), 4, 100, mix()).fresh()]
        {
            let probe = Probe::attach(server.pid(), &["--force-rung", program])?;
            let log = load.run()?;
            let report = finish(probe, &server)?.report;
            report.matches_exactly(&log.sums()).with_context(|| format!("without `{program}`"))?;
            let spots: Vec<Value> = report.at("/health/blind_spots")?;
            ensure!(
                spots.iter().any(|spot| spot["what"] == rung.unseen),
                "without `{program}`: the report names only {spots:?}"
            );
            let timed: u64 = report.endpoints()?.iter().map(|endpoint| endpoint.latency_s.count).sum();
            let expected = if program == "socket_segment" { log.connections } else { 100 };
            ensure!(timed == expected, "without `{program}`: {timed} requests are timed");
            let calls = report.server_calls("recv")?.calls;
            ensure!(calls >= 100, "without `{program}`: {calls} reads");
        }
    }
    Ok(())
}

/// A program that is called after another one, for what that was left out of, tells as much: here the first is left out of
/// everything. There is no gap to name.
fn what_interrupts_a_program_is_told() -> Result<()> {
    let server = Uvicorn::new("asyncio", "h11").start()?;
    let load = Load::fast(server.addr(), 4, 100, mix()).fresh();
    let mut gaps = Vec::new();
    let mut programs = Vec::new();
    for forced in [vec![], vec!["--force-rung", rungs::INTERRUPTED]] {
        let probe = Probe::attach(server.pid(), &forced)?;
        programs.push(probe.programs()?.len());
        let log = load.run()?;
        let report = finish(probe, &server)?.report;
        report.matches_exactly(&log.sums()).with_context(|| format!("with {forced:?}"))?;
        let listener = report.listener(server.addr().port())?;
        ensure!(
            (listener.accepted, listener.queue_wait_s.count) == (100, 100),
            "with {forced:?}: {listener:?}"
        );
        gaps.push(report.at::<Value>("/health/blind_spots")?);
    }
    ensure!(gaps[0] == gaps[1], "{gaps:?}");
    ensure!(programs[0] == programs[1] + 1, "{programs:?} programs");
    Ok(())
}

/// By plain instructions or by a helper, a run reads the same, and has no gap to name; doctor says which.
fn direct_reads_change_no_count() -> Result<()> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let load = Load::fast(server.addr(), 4, 100, mix());
    let mut gaps = Vec::new();
    for forced in [vec![], vec!["--force-rung", kfunc::READABLE]] {
        let probe = Probe::attach(server.pid(), &forced)?;
        let log = load.run()?;
        let report = finish(probe, &server)?.report;
        report.matches_exactly(&log.sums()).with_context(|| format!("with {forced:?}"))?;
        let timed: u64 = report.endpoints()?.iter().map(|endpoint| endpoint.latency_s.count).sum();
        ensure!(timed == 100, "with {forced:?}: {timed} requests are timed");
        gaps.push(report.at::<Value>("/health/blind_spots")?);
        let output = Command::new(probe::binary()?).arg("doctor").args(&forced).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_called = text.contains(&format!("ok    kernel: {}", kfunc::READABLE));
        let accepts = version(&fs::read_to_string("/proc/sys/kernel/osrelease")?) >= vec![6, 17];
        ensure!(is_called == (accepts && forced.is_empty()), "with {forced:?} doctor says:\n{text}");
    }
    ensure!(gaps[0] == gaps[1], "gaps: {gaps:?}");
    Ok(())
}

/// By perf's tracepoints, which the programs can use from 5.15 on (`bpf_task_pt_regs`), a run counts the same, and has no gap
/// to name; doctor says which. From Linux 7.0 on they are the better ones.
fn perf_tracepoints_change_no_count() -> Result<()> {
    const FORCED: [&str; 2] = ["--force-rung", rungs::RAW];
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let load = Load::fast(server.addr(), 4, 100, mix());
    let gaps = |forced: &[&str]| -> Result<Value> {
        let probe = Probe::attach(server.pid(), forced)?;
        let log = load.run()?;
        let report = finish(probe, &server)?.report;
        report.matches_exactly(&log.sums()).with_context(|| format!("with {forced:?}"))?;
        let timed: u64 = report.endpoints()?.iter().map(|endpoint| endpoint.latency_s.count).sum();
        ensure!(timed == 100, "with {forced:?}: {timed} requests are timed");
        report.at("/health/blind_spots")
    };
    let release = version(&fs::read_to_string("/proc/sys/kernel/osrelease")?);
    let (can, is_new) = (release >= vec![5, 15], release >= vec![7, 0]);
    ensure!((gaps(&[])? == gaps(&FORCED)?) == can, "gaps");
    for forced in [&[][..], &FORCED, &["--force-rung", RAW_TRACEPOINTS.program]] {
        let output = Command::new(probe::binary()?).arg("doctor").args(forced).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_perf = text.contains("ok    fdio: perf's sys_exit");
        ensure!(is_perf != text.contains("ok    fdio: sys_exit"), "with {forced:?} doctor says:\n{text}");
        ensure!(
            is_perf == (can && forced == FORCED || is_new && forced.is_empty()),
            "with {forced:?}:\n{text}"
        );
    }
    Ok(())
}

/// `probe doctor` tries each hook, and says what is done without one; an attach can still work.
fn doctor_shows_the_rung() -> Result<()> {
    for rung in FALLBACKS {
        let mut doctor = Command::new(probe::binary()?);
        let output = doctor.args(["doctor", "--force-rung", rung.program]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(output.status.success(), "without `{}`: {}\n{text}", rung.program, output.status);
        ensure!(words.contains(&format!("instead, {};", rung.instead)), "no word of it:\n{text}");
        ensure!(words.ends_with("attach can work here, 1 thing less than it could"), "the verdict:\n{text}");
    }
    Ok(())
}
