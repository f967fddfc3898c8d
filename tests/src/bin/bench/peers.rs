//! Nanoseconds per system call that other tools add which do what a room of ours does, beside our own, in one run: on the
//! child loops of part `calls`, in a process that is traced and in another one.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use probe_tests::probe::Probe;

use crate::{
    calls::CALLS,
    figure::Figure,
    peer::Peer,
    repeat::{Repeat, TRIES},
};

const KINDS: [(&str, &str); 2] = [("file", "read of /dev/zero"), ("socket", "1 byte over TCP")];

/// What watches a process.
#[derive(Clone, Copy)]
enum Watcher {
    /// Ours, with these arguments.
    Probe(&'static str, &'static [&'static str]),
    Peer(Peer),
}

#[derive(Default)]
struct Values {
    off: Vec<f64>,
    on: Vec<f64>,
    other_off: Vec<f64>,
    other_on: Vec<f64>,
    /// Percent of the calls that a peer saw.
    counted: Vec<f64>,
}

impl Watcher {
    const fn name(self) -> &'static str {
        match self {
            Self::Probe(name, _) => name,
            Self::Peer(peer) => peer.name(),
        }
    }

    /// One round.
    fn measure(self, traced: &mut Repeat, other: &mut Repeat, values: &mut Values) -> Result<()> {
        let (off, other_off) = (traced.turn_ns()?, other.turn_ns()?);
        let (on, other_on) = match self {
            Self::Probe(_, arguments) => {
                let probe = Probe::attach(traced.pid(), arguments)?;
                let on = (traced.turn_ns()?, other.turn_ns()?);
                probe.finish()?;
                on
            }
            Self::Peer(peer) => {
                let running = peer.attach(traced.pid())?;
                let on = (traced.turn_ns()?, other.turn_ns()?);
                // Some see more than these: what the child is asked by, and other processes.
                let share = running.finish()? as f64 / f64::from(CALLS * TRIES);
                values.counted.push(share.min(1.0) * 100.0);
                on
            }
        };
        values.off.push(off);
        values.on.push(on);
        values.other_off.push(other_off);
        values.other_on.push(other_on);
        Ok(())
    }
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let _tracefs = Tracefs::mount()?;
    let ours = [Watcher::Probe("probe --only socket", &["--only", "socket"]), Watcher::Probe("probe", &[])];
    let watchers: Vec<Watcher> = ours.into_iter().chain(Peer::ALL.map(Watcher::Peer)).collect();
    let mut figures = Vec::new();
    // A peer that failed is not tried again, and has no figure of what it failed at.
    let mut failed = BTreeSet::new();
    for (kind, call) in KINDS {
        let mut all: Vec<Values> = watchers.iter().map(|_| Values::default()).collect();
        for _ in 0..rounds {
            let mut traced = Repeat::start(&format!("calls/{kind}"))?;
            let mut other = Repeat::start(&format!("calls/{kind}"))?;
            for (watcher, values) in watchers.iter().zip(&mut all) {
                if failed.contains(watcher.name()) {
                    continue;
                }
                match (watcher, watcher.measure(&mut traced, &mut other, values)) {
                    (Watcher::Peer(peer), Err(error)) => {
                        println!("peers: {} is not measured: {error:#}", peer.name());
                        failed.insert(peer.name());
                    }
                    (_, measured) => measured?,
                }
            }
        }
        let good = watchers.iter().zip(&all).filter(|(watcher, _)| !failed.contains(watcher.name()));
        for (watcher, values) in good {
            let name = format!("{call}: {}", watcher.name());
            figures.push(Figure::pairs(&name, "ns", &values.off, &values.on));
            let other = format!("{name}, another process");
            figures.push(Figure::pairs(other, "ns", &values.other_off, &values.other_on));
            if !values.counted.is_empty() {
                figures.push(Figure::of(format!("{name}, counted"), "% of the calls", &values.counted));
            }
        }
    }
    Ok(figures.into_iter().map(|figure| Figure { part: "peers".to_owned(), ..figure }).collect())
}

/// Where tools look up tracepoints; mounted as long as this lives, if nobody had done so.
struct Tracefs {
    is_ours: bool,
}

const TRACEFS: &str = "/sys/kernel/tracing";

impl Tracefs {
    fn mount() -> Result<Self> {
        let is_ours = !std::path::Path::new(TRACEFS).join("events").exists();
        if is_ours {
            let status = Command::new("mount").args(["-t", "tracefs", "none", TRACEFS]).status();
            let status = status.context("failed to start `mount`")?;
            ensure!(status.success(), "failed to mount `{TRACEFS}`: {status}");
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        if self.is_ours {
            // Nothing depends on it: a mount that stays is what most machines have.
            let _status = Command::new("umount").arg(TRACEFS).status();
        }
    }
}
