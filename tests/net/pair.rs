//! Two network namespaces, joined by a veth pair: the test's own, and one like a container's.

use std::{fs, thread};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use probe_tests::wait;

use crate::bench::{Namespace, run};

/// Our end of the pair, and its address.
pub(crate) const HERE: (&str, &str) = ("here", "10.99.0.1");
/// The other end.
pub(crate) const THERE: (&str, &str) = ("eth0", "10.99.0.2");

/// The pair, as long as the other namespace lives.
pub(crate) struct Pair {
    other: Namespace,
}

impl Pair {
    /// Both ends have a carrier.
    pub(crate) fn new() -> Result<Self> {
        let pair = Self { other: Namespace::new()? };
        let pid = pair.pid();
        run("ip", &["link", "add", HERE.0, "type", "veth", "peer", "name", THERE.0, "netns", &pid])?;
        run("ip", &["addr", "add", &format!("{}/24", HERE.1), "dev", HERE.0])?;
        run("ip", &["link", "set", HERE.0, "up"])?;
        pair.there("ip", &["addr", "add", &format!("{}/24", THERE.1), "dev", THERE.0])?;
        pair.there("ip", &["link", "set", THERE.0, "up"])?;
        wait::until("a carrier", wait::SOON, || Ok(pair.look_there()?.contains("state UP").then_some(())))?;
        Ok(pair)
    }

    /// A process of the other namespace.
    pub(crate) fn pid(&self) -> String {
        self.other.pid()
    }

    /// Runs a program in the other namespace.
    pub(crate) fn there(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run("nsenter", &[&["-t", &self.pid(), "-n", program], arguments].concat())
    }

    /// Everything about the other end that an injector may change.
    pub(crate) fn look_there(&self) -> Result<String> {
        Ok(self.there("tc", &["-d", "qdisc", "show"])? + &self.there("ip", &["-o", "-d", "link", "show"])?)
    }

    /// Does something in the other namespace: a socket stays in the one in which it was made.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.pid()))?;
        let inside = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("failed to enter a network namespace")?;
            act()
        };
        thread::spawn(inside).join().map_err(|_| anyhow!("the thread panicked"))?
    }
}
