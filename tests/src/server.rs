//! Real servers, started for a test and gone with it: uvicorn in every flavour and Python's own
//! `http.server`.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{host, wait};

/// A flavour of uvicorn.
#[derive(Clone, Debug)]
pub struct Uvicorn {
    /// `asyncio` or `uvloop`.
    pub event_loop: &'static str,
    /// `h11` or `httptools`.
    pub http: &'static str,
    /// `127.0.0.1` or `::1`.
    pub host: IpAddr,
    /// 1 serves from the process itself.
    pub workers: u32,
    /// The argument of `listen`.
    pub backlog: u32,
    /// More arguments.
    pub more: Vec<String>,
}

/// The address family of most tests.
pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The other one.
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

impl Uvicorn {
    /// One worker on IPv4.
    #[must_use]
    pub const fn new(event_loop: &'static str, http: &'static str) -> Self {
        Self { event_loop, http, host: V4, workers: 1, backlog: 2048, more: Vec::new() }
    }

    /// Starts it and waits until every worker serves.
    pub fn start(&self) -> Result<Server> {
        let mut server = self.held()?;
        server.release()?;
        server.wait_for_workers(self.workers)?;
        Ok(server)
    }

    /// Makes its process but holds it back before it becomes uvicorn, until [`Server::release`].
    pub fn held(&self) -> Result<Server> {
        // `exec` keeps the pid: what is attached to now is what serves later.
        self.in_shell("read -r go && exec \"$@\"")
    }

    /// The same, but it will be a child of its process.
    pub fn held_child(&self) -> Result<Server> {
        self.in_shell("read -r go && { \"$@\" & wait; }")
    }

    fn in_shell(&self, script: &str) -> Result<Server> {
        let addr = free_addr(self.host)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "sh"])
            .arg(python()?)
            .args([
                "-m",
                "uvicorn",
                "hello.app:app",
                "--no-access-log",
                "--timeout-keep-alive",
                "120",
                "--timeout-worker-healthcheck",
                "120",
            ])
            .args(["--loop", self.event_loop, "--http", self.http])
            .args(["--host", &self.host.to_string(), "--port", &addr.port().to_string()])
            .args(["--workers", &self.workers.to_string(), "--backlog", &self.backlog.to_string()])
            .args(&self.more)
            .current_dir(targets());
        Server::spawn(command, addr)
    }

    /// The same behind TLS, with `key.pem` and `cert.pem` of a folder.
    #[must_use]
    pub fn with_tls(mut self, folder: &Path) -> Self {
        for (option, file) in [("--ssl-keyfile", "key.pem"), ("--ssl-certfile", "cert.pem")] {
            self.more.extend([option.to_owned(), folder.join(file).display().to_string()]);
        }
        self
    }
}

/// Makes `key.pem` and `cert.pem` in a folder of its own.
pub fn certificate() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().context("failed to make a folder for a certificate")?;
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .status()
        .context("failed to start openssl: install it (apt-get install openssl)")?;
    ensure!(status.success(), "openssl ended with {status}");
    Ok(folder)
}

/// Python's `http.server` with a thread for each connection; with `fork`, a child process serves a second
/// port.
pub fn python_http_server(fork: bool) -> Result<(Server, SocketAddr)> {
    let (mut server, second) = spawn_http_server(fork, None, false)?;
    server.wait_for_connect(server.addr)?;
    if fork {
        server.wait_for_connect(second)?;
    }
    Ok((server, second))
}

/// The same, on one port, behind TLS.
pub fn python_https_server(certificate: &Path) -> Result<Server> {
    let (mut server, _) = spawn_http_server(false, Some(certificate), false)?;
    server.wait_for_connect(server.addr)?;
    Ok(server)
}

/// The same, which loads its TLS library and listens only after [`Server::release`].
pub fn late_https_server(certificate: &Path) -> Result<Server> {
    let (server, _) = spawn_http_server(false, Some(certificate), true)?;
    server.settle()?;
    Ok(server)
}

fn spawn_http_server(fork: bool, certificate: Option<&Path>, late: bool) -> Result<(Server, SocketAddr)> {
    let addr = free_addr(V4)?;
    let second = free_addr(V4)?;
    let mut command = Command::new(python()?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/http_server.py"));
    command.arg(addr.port().to_string());
    command.envs(certificate.map(|folder| ("TLS_FOLDER", folder)));
    command.envs(late.then_some(("LATE", "1")));
    if fork {
        command.arg(second.port().to_string());
    }
    Ok((Server::spawn(command, addr)?, second))
}

/// A server under test. Its whole process group ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    addr: SocketAddr,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn spawn(mut command: Command, addr: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for a server's log")?;
        let log = folder.path().join("log");
        let output = File::create(&log)?;
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, addr, log, _folder: folder })
    }

    /// The process that a user would attach to.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets a held server begin.
    pub fn release(&mut self) -> Result<()> {
        let mut stdin = self.stdin.take().context("the server was released before")?;
        stdin.write_all(b"go\n").context("failed to release the server")
    }

    /// Waits until this many workers, in all since the start, have said that they serve, and one answers.
    pub fn wait_for_workers(&mut self, workers: u32) -> Result<()> {
        wait::until("a serving worker", wait::SOON, || {
            self.check_alive()?;
            let ready = self.log()?.matches("Application startup complete").count();
            Ok((ready >= workers as usize).then_some(()))
        })?;
        self.wait_for_connect(self.addr)
    }

    /// Waits until it listens.
    pub fn wait_for_listener(&mut self) -> Result<()> {
        self.wait_for_connect(self.addr)
    }

    fn wait_for_connect(&mut self, addr: SocketAddr) -> Result<()> {
        self.wait_until(|| TcpStream::connect(addr).is_ok())
    }

    /// Waits until something is true, and then until the server rests.
    pub(crate) fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        wait::until("a listening server", wait::SOON, || {
            self.check_alive()?;
            Ok(is_ready().then_some(()))
        })?;
        self.settle()
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended ({status}); its log:\n{}", self.log()?),
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("failed to read the server's log")
    }

    /// Waits until it has printed this line.
    pub fn wait_for_line(&mut self, line: &str) -> Result<()> {
        wait::until(line, wait::SOON, || {
            self.check_alive()?;
            Ok(self.log()?.lines().any(|said| said == line).then_some(()))
        })
    }

    /// Waits until every thread of the tree sleeps, in two looks in a row: whatever it had to do for the
    /// requests so far, system calls included, is done.
    pub fn settle(&self) -> Result<()> {
        let mut quiet = 0;
        wait::until("an idle server", wait::SOON, || {
            quiet = if host::all_asleep(self.pid())? { quiet + 1 } else { 0 };
            Ok((quiet >= 2).then_some(()))
        })
    }

    /// Sends a signal to the process itself.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        nix::sys::signal::kill(pid_of(self.pid())?, signal).context("failed to signal the server")
    }

    /// Waits until the process has ended.
    pub fn wait_for_end(&mut self) -> Result<()> {
        wait::until("the end of the server", wait::SOON, || Ok(self.child.try_wait()?.map(drop)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(group) = pid_of(self.pid()) {
            // It may be gone already.
            let _gone = killpg(group, Signal::SIGKILL);
        }
        let _gone = self.child.wait();
    }
}

/// A pid as `nix` has it.
pub fn pid_of(pid: u32) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(pid).context("a pid beyond i32")?))
}

/// An address on which nobody listens now.
pub(crate) fn free_addr(host: IpAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((host, 0)).with_context(|| format!("failed to bind to {host}"))?;
    listener.local_addr().context("failed to read a socket's address")
}

/// Where the target applications are.
pub(crate) fn targets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("targets")
}

/// The Python with FastAPI and uvicorn: `PROBE_TEST_PYTHON`, else the one that the set-up made last.
pub fn python() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("PROBE_TEST_PYTHON") {
        return Ok(given.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("probe");
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&cache).into_iter().flatten().flatten() {
        let python = entry.path().join("bin/python");
        if entry.file_name().to_string_lossy().starts_with("venv-") && python.exists() {
            found.push((entry.metadata()?.modified()?, python));
        }
    }
    found.sort();
    let (_, python) = found.pop().with_context(|| {
        format!(
            "no Python environment in {}: run `cargo xtask setup`, or set PROBE_TEST_PYTHON",
            cache.display()
        )
    })?;
    Ok(python)
}
