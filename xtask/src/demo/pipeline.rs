//! The sample pipeline: a uvicorn on a free loopback port.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use std::fs::File;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::Options;
use super::scratch::Scratch;
use super::service::{Service, bound_to_us};
use crate::setup::Ready;
use crate::{exec, paths};

/// Python imports a web framework and an image library first: a second or two, more on a cold disk.
const PATIENCE: Duration = Duration::from_mins(1);
/// One answer's time while the server comes up.
const ANSWER: Duration = Duration::from_secs(2);

pub(super) struct Pipeline {
    service: Service,
    addr: SocketAddr,
}

pub(super) fn start(ready: &Ready, scratch: &Scratch, options: &Options) -> Result<Pipeline> {
    let addr = free_addr()?;
    let log_path = scratch.file("docpipeline.log");
    let log =
        File::create(&log_path).with_context(|| format!("failed to create `{}`", log_path.display()))?;
    let err = log.try_clone().context("failed to share a log")?;
    let mut command = bound_to_us(exec::command("env"), &ready.python);
    command
        .args(["-m", "uvicorn", "docpipeline.app:app", "--no-access-log", "--host", "127.0.0.1", "--port"])
        .arg(addr.port().to_string())
        .args(["--loop", &options.event_loop, "--workers", &options.workers.to_string()])
        .current_dir(paths::root().join("tests/targets"))
        .env("DOCPIPELINE_DB", scratch.file("documents.db"))
        .env("DOCPIPELINE_UPLOADS", scratch.file("uploads"))
        .env("DOCPIPELINE_CHECKPOINTS", scratch.file("checkpoints"))
        .stdout(log)
        .stderr(err);
    let mut service = Service::start("docpipeline", &mut command, Signal::SIGTERM)?;
    service
        .wait_until(PATIENCE, || answers(addr))
        .with_context(|| format!("failed to start the sample pipeline\n{}", exec::tail(&log_path, 20)))?;
    Ok(Pipeline { service, addr })
}

impl Pipeline {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Ends it in good order; dropping it would do as well, but say nothing.
    pub(super) fn stop(mut self) -> Result<()> {
        self.service.end(exec::GRACE).map(drop)
    }
}

/// A port that nobody uses now. Somebody may take it before the server does: then the server says so.
fn free_addr() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free loopback port")?;
    listener.local_addr().context("failed to read the address of a socket")
}

/// A real answer: with several workers the port accepts connections long before anybody serves them.
fn answers(addr: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&addr, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
