//! `cargo xtask setup`: brings a Debian machine with cargo to where everything builds, runs and is tested.
//!
//! Each step first looks whether its work is done already, so a second call is a few checks and no more. Three tracks
//! run at once, because they wait for different things: the tool chain and the build for the processor, Python for
//! the network, apt for the disk.

mod apt;
mod board;
mod linker;
mod python;
mod rust;

use std::path::PathBuf;
use std::thread;

use anyhow::{Result, anyhow};

use crate::{exec, paths, stop};
pub(crate) use apt::install;
pub(crate) use board::Board;

/// What the caller is going to do, which decides what must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Build the probe and run it on the sample pipeline.
    Demo,
    /// That, and every test.
    Tests,
    /// That, and what probe is compared with.
    Bench,
}

/// What set-up leaves for the others.
pub(crate) struct Ready {
    /// The Python with the sample pipeline's packages.
    pub(crate) python: PathBuf,
    /// The PDF files for the load.
    pub(crate) corpus: PathBuf,
}

/// Programs that the tests call, with the packages that hold them.
const TEST_PROGRAMS: [(&str, &str); 11] = [
    ("c++", "g++"),
    ("chromium-headless-shell", "chromium-headless-shell"),
    ("nginx", "nginx-light"),
    ("ip", "iproute2"),
    ("mkfs.ext4", "e2fsprogs"),
    ("openssl", "openssl"),
    ("sqlite3", "sqlite3"),
    ("strace", "strace"),
    ("tcpdump", "tcpdump"),
    ("wrk", "wrk"),
    ("xmllint", "libxml2-utils"),
];

/// Those that the bench measures beside probe.
const PEERS: [(&str, &str); 2] = [("bpftrace", "bpftrace"), ("perf", "linux-perf")];

/// Sets up what `goal` needs and runs `build` (arguments of cargo, may be empty) once the tool chain is there.
pub(crate) fn run(goal: Goal, build: &[&str]) -> Result<Ready> {
    let cache = paths::make_cache()?;
    let board = Board::new(&cache)?;
    let python = python::Plan::new(&cache)?;
    let mut packages: Vec<&str> = python.packages();
    let missing = |(program, _): &&(&str, &str)| paths::find_program(program).is_none();
    if goal != Goal::Demo {
        packages.extend(TEST_PROGRAMS.iter().filter(missing).map(|(_, package)| package));
    }
    if goal == Goal::Bench {
        packages.extend(PEERS.iter().filter(missing).map(|(_, package)| package));
    }
    if !packages.is_empty() {
        exec::authenticate(&format!("to install {}", packages.join(", ")))?;
    }

    let ready = thread::scope(|scope| {
        let builder = scope.spawn(|| first_error(tool_chain(&board, build)));
        let others = scope.spawn(|| first_error(system(&board, &python, &packages, goal)));
        board.report_until(|| builder.is_finished() && others.is_finished());
        let died = || anyhow!("failed to finish the set-up: a track of it panicked");
        let first = builder.join().map_err(|_| died())?;
        let ready = others.join().map_err(|_| died())?;
        // The first failure stopped the other track, whose "stopped" explains nothing.
        match (first, ready) {
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(other)) => Err(if board::is_stop(&error) { other } else { error }),
            (Ok(()), ready) => ready,
        }
    })?;
    board.close();
    Ok(ready)
}

/// Does work whose long steps are shown, as [`run`] does.
pub(crate) fn watched<T: Send>(board: &Board, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        board.report_until(|| worker.is_finished());
        worker.join().map_err(|_| anyhow!("failed to finish the set-up: it panicked"))?
    })
}

/// The processor's track: compiler sources, linker, build.
fn tool_chain(board: &Board, build: &[&str]) -> Result<()> {
    let compiler = rust::ensure_sources(board)?;
    linker::ensure(board, &compiler)?;
    if build.is_empty() {
        return Ok(());
    }
    board.build(&format!("cargo {}", build.join(" ")), exec::cargo().args(build))
}

/// The network's track: packages, then Python and its corpus.
fn system(board: &Board, python: &python::Plan, packages: &[&str], goal: Goal) -> Result<Ready> {
    let ensure = || {
        let ready = python.ensure(board)?;
        if goal != Goal::Demo {
            python.ensure_extras(board)?;
        }
        Ok(ready)
    };
    // Python waits for apt only where it needs a package from there.
    if python.packages().is_empty() {
        return thread::scope(|scope| {
            let apt = scope.spawn(|| first_error(install(board, packages)));
            let ready = ensure();
            apt.join().map_err(|_| anyhow!("failed to finish the set-up: apt's track panicked"))??;
            ready
        });
    }
    install(board, packages)?;
    ensure()
}

/// Lets a failed track stop the others: the user should not wait for work whose result cannot be used.
fn first_error<T>(result: Result<T>) -> Result<T> {
    if result.is_err() {
        stop::request();
    }
    result
}
