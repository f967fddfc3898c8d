//! Network namespaces: entering one, and trying things out in one that nobody else sees.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

use super::netlink::Netlink;
use super::plan::{Means, ROOT};
use super::{encode, mirror};

/// The root of a device's queueing disciplines (`TC_H_ROOT`).
pub const ROOT_PARENT: u32 = u32::MAX;

/// A network namespace, as users name one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Netns {
    /// That of a process.
    Pid(u32),
    /// A file, as under `/run/netns`.
    Path(PathBuf),
}

impl std::str::FromStr for Netns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("0 is no process".to_owned()),
            Ok(pid) => Ok(Self::Pid(pid)),
            Err(_) if text.contains('/') => Ok(Self::Path(PathBuf::from(text))),
            Err(_) => Ok(Self::Path(Path::new("/run/netns").join(text))),
        }
    }
}

impl Netns {
    /// Takes the calling thread there, and the processes that it starts from now on.
    pub fn enter(&self) -> Result<()> {
        let path = match self {
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Self::Path(path) => path.clone(),
        };
        let file = File::open(&path)
            .with_context(|| format!("failed to open the network namespace `{}`", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("failed to enter the network namespace `{}`", path.display()))
    }
}

/// What tells the calling thread's namespace from all others.
pub fn own() -> Result<u64> {
    let link =
        std::fs::read_link("/proc/thread-self/ns/net").context("failed to read our network namespace")?;
    let text = link.to_string_lossy();
    let inode = text.trim_start_matches("net:[").trim_end_matches(']').parse();
    inode.with_context(|| format!("failed to read our network namespace from `{text}`"))
}

/// The device over which others reach a namespace: the first that is up and not the loopback one.
pub fn outward_device(netns: &Netns) -> Result<String> {
    let netns = netns.clone();
    let look = move || -> Result<Option<String>> {
        netns.enter()?;
        let devices = Netlink::open()?.devices()?.into_iter();
        Ok(devices.filter(|device| device.is_up && !device.is_loopback).map(|device| device.name).next())
    };
    let found = thread::spawn(look)
        .join()
        .map_err(|_| anyhow!("failed to look for a device: the thread ended"))??;
    found.context("failed to find a device in the target's network namespace that is up: name one as in `poor dev=eth0`")
}

/// Tries what the kernel has, in a namespace that is gone afterwards.
pub fn means() -> Result<Means> {
    let try_all = || -> Result<Means> {
        unshare(CloneFlags::CLONE_NEWNET).context("failed to make a network namespace to try things in")?;
        let mut netlink = Netlink::open()?;
        let mut has = |kind: &str, options: Vec<u8>| {
            let parent = ROOT_PARENT;
            let is_there = netlink.add_qdisc(LOOPBACK, parent, ROOT, kind, Some(options)).is_ok();
            // The namespace ends anyway; only the next try needs the place.
            let _ = netlink.delete_qdisc(LOOPBACK, parent, ROOT);
            is_there
        };
        Ok(Means {
            htb: has("htb", encode::htb()),
            netem: has("netem", encode::netem(&super::condition::Link::default(), 1000, None, false)),
            tbf: has("tbf", encode::tbf(1518, 1_000_000)),
            ifb: mirror::is_possible(&mut netlink),
        })
    };
    thread::spawn(try_all)
        .join()
        .map_err(|_| anyhow!("failed to try what the kernel has: the thread ended"))?
}

/// The first device of every namespace.
const LOOPBACK: u32 = 1;
