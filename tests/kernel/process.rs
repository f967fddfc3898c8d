//! Which processes are watched: the whole tree, whenever its members came into being.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use probe_tests::{
    client::Request,
    host,
    load::Load,
    probe::Probe,
    server::{Server, Uvicorn, pid_of, python_http_server},
};

use crate::{
    Suite, add,
    watch::{exact, finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, workers_are_counted, attach_before_the_program, workers_forked_later, no_children);
}

fn two_workers() -> Uvicorn {
    Uvicorn { workers: 2, ..Uvicorn::new("uvloop", "httptools") }
}

fn load(server: &Server) -> Load {
    Load::fast(server.addr(), 16, 1_000, mix()).fresh()
}

/// Attached to a parent that never serves, every request that its workers serve is counted.
fn workers_are_counted() -> Result<()> {
    for event_loop in ["uvloop", "asyncio"] {
        let server = Uvicorn { event_loop, ..two_workers() }.start()?;
        ensure!(host::tree(server.pid())?.len() > 2, "uvicorn made no workers");
        exact(&server, &load(&server))?;
    }
    Ok(())
}

/// Attached to a shell that only later becomes uvicorn and only then makes workers, nothing is missed.
fn attach_before_the_program() -> Result<()> {
    let mut server = two_workers().held()?;
    let probe = Probe::attach(server.pid(), &[])?;
    server.release()?;
    server.wait_for_workers(2)?;
    let log = load(&server).run()?;
    let outcome = finish(probe, &server)?;
    outcome.report.matches_exactly(&log.sums())
}

/// Workers that replace killed ones during the run are counted as the first ones were.
fn workers_forked_later() -> Result<()> {
    let mut server = two_workers().start()?;
    let probe = Probe::attach(server.pid(), &[])?;
    for worker in host::tree(server.pid())?.into_iter().filter(|pid| *pid != server.pid()) {
        let threads = host::threads(worker);
        // The resource tracker has one thread and is of no interest; killing it would be seen by nobody.
        if threads > 1 {
            kill(pid_of(worker)?, Signal::SIGKILL).context("failed to kill a worker")?;
        }
    }
    server.wait_for_workers(4)?;
    let log = load(&server).run()?;
    let outcome = finish(probe, &server)?;
    outcome.report.matches_exactly(&log.sums())
}

/// With `--no-children` the parent's requests are counted and the child's are not; without it both are.
fn no_children() -> Result<()> {
    let (server, child) = python_http_server(true)?;
    for (more, expected) in [(&[][..], 40), (&["--no-children"][..], 0)] {
        let probe = Probe::attach(server.pid(), more)?;
        Load::fast(server.addr(), 2, 30, vec![Request::get("/parent")]).run()?;
        Load::fast(child, 2, 40, vec![Request::get("/child")]).run()?;
        let report = finish(probe, &server)?.report;
        ensure!(report.endpoint("GET /parent")?.requests == 30);
        let of_child = report.endpoint("GET /child").map_or(0, |endpoint| endpoint.requests);
        ensure!(of_child == expected, "{more:?}: {of_child} requests of the child counted");
    }
    Ok(())
}
