//! Which processes are watched: the whole tree, whenever its members came into being.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use probe_common::process::slots_of;
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
    add!(
        suite,
        workers_are_counted,
        attach_before_the_program,
        workers_forked_later,
        no_children,
        ids_that_share_a_slot,
    );
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

/// A process whose id has the slot of its parent's in the kernel side's table is traced all the same, forked during the run
/// or found at the attach.
fn ids_that_share_a_slot() -> Result<()> {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    // Whoever forks in between takes the id that was meant for the child.
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        let mut server = Uvicorn::new("asyncio", "h11").held_child()?;
        let id = same_slot(server.pid())?;
        let probe = Probe::attach(server.pid(), &[])?;
        fs::write(LAST, (id - 1).to_string()).context("failed to choose the next process's id")?;
        server.release()?;
        server.wait_for_listener()?;
        if !host::tree(server.pid())?.contains(&id) {
            continue;
        }
        let log = load(&server).run()?;
        finish(probe, &server)?.report.matches_exactly(&log.sums())?;
        return exact(&server, &load(&server)).map(drop);
    }
    bail!("no child got the id that was chosen for it in {TRIES} tries")
}

/// A free id whose first slot is that of another one.
fn same_slot(pid: u32) -> Result<u32> {
    let max: u32 = fs::read_to_string("/proc/sys/kernel/pid_max")?.trim().parse()?;
    let is_free = |id: &u32| !Path::new("/proc").join(id.to_string()).exists();
    // Smaller ones are left out when ids begin anew.
    let mut ids = 301..max;
    ids.find(|id| *id != pid && slots_of(*id)[0] == slots_of(pid)[0] && is_free(id)).context("no id is free")
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
