//! The plain blocking server, `src/bin/plain_server.rs`, seen from a test.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{host, server::V4, wait};

/// What the plain server counted: its own calls, by their results.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Counts {
    /// Calls of accept that returned a connection.
    pub accepts: u64,
    /// Calls of the receive family that returned.
    pub reads: u64,
    /// Bytes that they brought.
    pub read_bytes: u64,
    /// Calls of the send family.
    pub writes: u64,
    /// Bytes that they took.
    pub written_bytes: u64,
}

/// The plain server.
#[derive(Debug)]
pub struct Plain {
    child: Child,
    addr: SocketAddr,
}

impl Plain {
    /// Starts the `binary` with a set of calls: `read`, `recv`, `readv` or `recvmsg`.
    pub fn start(binary: &str, calls: &str) -> Result<Self> {
        let mut child = Command::new(binary)
            .arg(calls)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start `{binary}`"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
        let port = line.trim().parse().with_context(|| format!("failed to read a port from `{line}`"))?;
        Ok(Self { child, addr: SocketAddr::new(V4, port) })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until only the accepting threads are left: every connection has been read to its end.
    pub fn wait_for_no_connections(&self) -> Result<()> {
        wait::until("the end of the server's connections", wait::SOON, || {
            Ok((host::threads(self.pid()) == 2 && host::all_asleep(self.pid())?).then_some(()))
        })
    }

    /// Ends it and returns its counts.
    pub fn finish(mut self) -> Result<Counts> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.child.stdout.as_mut().context("no stdout")?.read_to_string(&mut text)?;
        ensure!(self.child.wait()?.success(), "the plain server failed");
        serde_json::from_str(&text).with_context(|| format!("failed to read counts from `{text}`"))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
