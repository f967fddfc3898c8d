//! Marks from outside: `probe mark NAME` begins a phase in a run that is under way.
//!
//! A datagram socket in the run's directory; who can write there may mark.

use std::{
    fs, io,
    os::unix::net::UnixDatagram as StdDatagram,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tokio::net::UnixDatagram;

use super::clock;
use crate::event::{Event, Phase};

/// The socket's name in a run directory.
pub const SOCKET: &str = "mark.sock";

/// Names are words in tables.
const MAX_NAME_BYTES: usize = 60;

/// The socket of a run.
#[derive(Debug)]
pub(super) struct Marks {
    socket: Option<UnixDatagram>,
    path: PathBuf,
}

impl Marks {
    /// Listens. A run goes on without: a path can be too long for a socket.
    pub(super) fn listen(directory: &Path) -> Self {
        let path = directory.join(SOCKET);
        let socket = UnixDatagram::bind(&path)
            .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "no marks in this run"))
            .ok();
        Self { socket, path }
    }

    /// Waits for a mark; for ever where none can come.
    pub(super) async fn next(&self) -> Event {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            // A byte more than is allowed shows a name that is too long.
            let mut buffer = [0; MAX_NAME_BYTES + 1];
            let name = match socket.recv(&mut buffer).await {
                Ok(n) => std::str::from_utf8(&buffer[..n]).ok().filter(|name| check(name).is_ok()),
                Err(_) => std::future::pending().await,
            };
            if let Some(name) = name {
                tracing::info!(phase = name, "phase marked");
                let (ts_ns, name) = (clock::monotonic_ns(), name.to_owned());
                return Event::Phase(Phase { ts_ns, name, judged: true, condition: None, is_between: false });
            }
        }
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        if self.socket.is_some() {
            // Gone with its directory, perhaps.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a phase may be named so.
fn check(name: &str) -> Result<()> {
    let is_fit = !name.trim().is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    ensure!(is_fit, "a phase's name must be 1 to {MAX_NAME_BYTES} printable ASCII characters");
    Ok(())
}

/// Begins a phase in the run of this directory.
pub fn mark(directory: &Path, name: &str) -> Result<()> {
    check(name)?;
    let path = directory.join(SOCKET);
    let socket = StdDatagram::unbound().context("failed to make a socket")?;
    let sent = socket.send_to(name.as_bytes(), &path);
    sent.map(|_| ()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            anyhow::anyhow!("no run is under way in `{}`", directory.display())
        }
        _ => {
            anyhow::Error::from(error).context(format!("failed to mark the run in `{}`", directory.display()))
        }
    })
}
