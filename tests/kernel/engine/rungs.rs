//! One rung lower: without a hook that it can do without, a run counts what it always counts, times what it still can,
//! and says what is not seen.

use std::process::Command;

use ::probe::probes::rungs::FALLBACKS;
use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    load::Load,
    probe::{self, Probe},
    server::Uvicorn,
};
use serde_json::Value;

use crate::{
    Suite, add,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, each_rung_counts_exactly, doctor_shows_the_rung);
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
