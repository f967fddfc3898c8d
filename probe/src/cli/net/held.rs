//! What is in force on this machine: `show` tells of it, `clear` takes it back, and the guard does so after a crash.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::super::Outcome;
use super::super::outcome::print_report;
use super::super::stop::Stop;
use super::{PlaceArgs, check_rights, enter};
use crate::inject::claim::Claim;
use crate::inject::journal::{self, Journal};
use crate::inject::netlink::Netlink;
use crate::inject::{netns, undo};

/// How long `clear` waits for an injector that it asks to end, and the guard for one that dies.
const PATIENCE: Duration = Duration::from_secs(10);

/// Journals of the namespace that was asked for, or of all where none was.
fn chosen(args: &PlaceArgs) -> anyhow::Result<Vec<(PathBuf, journal::Entry)>> {
    enter(args.netns.as_ref())?;
    let own = netns::own()?;
    let all = journal::all(&args.state).into_iter();
    Ok(all
        .filter(|(_, entry)| entry.netns == own && args.dev.as_ref().is_none_or(|dev| *dev == entry.device))
        .collect())
}

pub(super) fn show(args: &PlaceArgs) -> anyhow::Result<Outcome> {
    let mut text = String::new();
    for (path, entry) in chosen(args)? {
        let is_dead = Journal::existing(&path)?.is_some();
        let state =
            if is_dead { "left by a dead injector, take it back with `probe net clear`" } else { "in force" };
        let _ = writeln!(text, "{}: {state}, pid {}", entry.device, entry.pid);
        for what in &entry.what {
            let _ = writeln!(text, "  {what}");
        }
    }
    for device in strays(args)? {
        let _ = writeln!(
            text,
            "{}: a root of ours without a journal, take it back with `probe net clear`",
            device.name
        );
    }
    if text.is_empty() {
        text.push_str("no network condition is in force here\n");
    }
    let harmless: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    print_report(&harmless).context("failed to write to `stdout`")?;
    Ok(Outcome::Ok)
}

/// Devices with our root that no journal tells of.
fn strays(args: &PlaceArgs) -> anyhow::Result<Vec<crate::inject::netlink::Device>> {
    let known: Vec<u32> = chosen(args)?.into_iter().map(|(_, entry)| entry.index).collect();
    let mut netlink = Netlink::open()?;
    let mut found = Vec::new();
    for device in netlink.devices()? {
        let is_wanted = args.dev.as_ref().is_none_or(|dev| *dev == device.name);
        let is_between = device.name.starts_with("probe-ifb");
        if is_wanted
            && !is_between
            && !known.contains(&device.index)
            && undo::has_our_root(&mut netlink, device.index)?
        {
            found.push(device);
        }
    }
    Ok(found)
}

pub(super) fn clear(args: &PlaceArgs) -> anyhow::Result<Outcome> {
    check_rights()?;
    let mut cleared = Vec::new();
    for (path, entry) in chosen(args)? {
        let journal = match Journal::existing(&path)? {
            Some(journal) => Some(journal),
            None => end(&path, &entry)?,
        };
        if let Some(journal) = journal {
            undo::undo(&mut Netlink::open()?, journal)?;
        }
        cleared.push(entry.device);
    }
    for device in strays(args)? {
        let claim = Claim::take(device.index)?;
        if claim.is_none() {
            bail!(
                "failed to clear `{}`: a living injector that keeps its journal elsewhere holds it",
                device.name
            );
        }
        undo::remove_root(&mut Netlink::open()?, device.index)?;
        cleared.push(device.name);
    }
    let names = if cleared.is_empty() {
        "nothing to clear".to_owned()
    } else {
        format!("cleared {}", cleared.join(", "))
    };
    tracing::info!("{names}");
    Ok(Outcome::Ok)
}

/// Asks a living injector to end; gives its journal where it left one.
fn end(path: &Path, entry: &journal::Entry) -> anyhow::Result<Option<Journal>> {
    let pid = i32::try_from(entry.pid).context("failed to read the injector's pid")?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .with_context(|| format!("failed to ask the injector {pid} to end"))?;
    let start = Instant::now();
    while path.exists() {
        if let Some(journal) = Journal::existing(path)? {
            return Ok(Some(journal));
        }
        if start.elapsed() > PATIENCE {
            bail!("failed to end the injector {pid} of `{}` within {} s", entry.device, PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

/// Waits until the other end of its input is closed, which the kernel does for a process that is killed.
pub(super) fn guard(path: &Path) -> anyhow::Result<Outcome> {
    // What ends an injector must not end who cleans up after it.
    let _ignored = Stop::install().context("failed to take over `SIGINT`")?;
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    let start = Instant::now();
    while path.exists() && start.elapsed() < PATIENCE {
        if let Some(journal) = Journal::existing(path)? {
            undo::undo(&mut Netlink::open()?, journal)?;
            return Ok(Outcome::Ok);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Outcome::Ok)
}
