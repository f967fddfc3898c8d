//! A recording is the run: its report is the same report.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    probe::{self, Probe},
    server::Uvicorn,
};

use crate::{
    Suite, add,
    watch::{finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, replay_is_the_same_report);
}

/// `probe report DIR --format json` prints `DIR/report.json` byte for byte, of a run that had fresh and
/// kept connections, errors, an aborted and an unanswered request; the recording holds no query string.
fn replay_is_the_same_report() -> Result<()> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let probe = Probe::attach(server.pid(), &["--record"])?;
    let log = Load::fast(server.addr(), 4, 200, mix()).fresh().run()?;
    Load::fast(server.addr(), 2, 20, vec![Request::get_as("GET /status/{id}", "/status/500")]).run()?;
    let mut aborted = Conn::open(server.addr())?;
    aborted.send(&Request::get("/sleep?ms=300").bytes)?;
    server.settle()?;
    aborted.reset()?;
    let mut open = Conn::open(server.addr())?;
    open.send(&Request::get("/sleep?ms=20000").bytes)?;
    let outcome = finish(probe, &server)?;
    ensure!(outcome.report.endpoint("GET /hello")?.requests == log.sums()["GET /hello"].requests);
    let run = outcome.run_dir();
    let live = fs::read(run.join("report.json")).context("failed to read `report.json`")?;
    let replay = Command::new(probe::binary()?)
        .arg("report")
        .arg(&run)
        .args(["--format", "json", "--inconclusive", "pass"])
        .output()
        .context("failed to run probe")?;
    ensure!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let same = live.trim_ascii_end() == replay.stdout.trim_ascii_end();
    ensure!(same, "live and replayed report differ:\n{}", String::from_utf8_lossy(&replay.stdout));
    for file in fs::read_dir(&run)? {
        let path = file?.path();
        let bytes = fs::read(&path)?;
        let leaked = bytes.windows(6).any(|window| window == b"secret");
        ensure!(!leaked, "a query string stands in `{}`", path.display());
    }
    Ok(())
}
