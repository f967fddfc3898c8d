//! Servers besides plain uvicorn: what else FastAPI applications are served by, and what stands in front of them.

use std::{
    fs,
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::server::{Server, V4, free_addr, python, targets};

/// A way to serve the `hello` application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// uvicorn on the last uvloop that sends a response by one writev.
    UvicornOldUvloop,
    /// gunicorn with this many of uvicorn's workers.
    Gunicorn(u32),
    /// hypercorn: the status line has no reason.
    Hypercorn,
    /// granian: the first read of a connection asks for 24 bytes.
    Granian,
}

/// The folder of packages that set-up installed apart.
fn extra(name: &str) -> Result<PathBuf> {
    let python = python()?;
    let venv = python.parent().and_then(Path::parent).context("failed to find the environment of Python")?;
    let entries = fs::read_dir(venv).with_context(|| format!("failed to list `{}`", venv.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(".complete").is_file())
        .filter(|path| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")))
        })
        .collect();
    // Of several versions the one that was installed last.
    found.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    found.pop().with_context(|| format!("no `{name}` in `{}`: run `cargo xtask setup`", venv.display()))
}

fn with_packages(name: &str) -> Result<Command> {
    let mut command = Command::new(python()?);
    command.env("PYTHONPATH", extra(name)?).current_dir(targets());
    Ok(command)
}

impl Kind {
    /// Starts it and waits until it serves.
    pub fn start(self) -> Result<Server> {
        let addr = free_addr(V4)?;
        let bind = addr.to_string();
        let port = addr.port().to_string();
        let command = match self {
            Self::UvicornOldUvloop => {
                let mut command = with_packages("uvloop")?;
                command.args(["-m", "uvicorn", "hello.app:app", "--no-access-log", "--loop", "uvloop"]).args(
                    [
                        "--timeout-keep-alive",
                        "120",
                        "--http",
                        "httptools",
                        "--host",
                        "127.0.0.1",
                        "--port",
                        &port,
                    ],
                );
                command
            }
            Self::Gunicorn(workers) => gunicorn(&bind, workers)?,
            Self::Hypercorn => {
                let mut command = with_packages("servers")?;
                command.args(["-m", "hypercorn", "hello.app:app", "--bind", &bind, "--keep-alive", "120"]);
                command
            }
            Self::Granian => {
                let mut command = with_packages("servers")?;
                command
                    .args(["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", &port])
                    .args(["--loop", "asyncio", "--no-ws", "hello.app:app"]);
                command
            }
        };
        let mut server = Server::spawn(command, addr)?;
        server.wait_until(|| TcpStream::connect(addr).is_ok())?;
        Ok(server)
    }
}

/// `bind` is `host:port` or `unix:path`.
fn gunicorn(bind: &str, workers: u32) -> Result<Command> {
    let mut command = with_packages("servers")?;
    command.args(["-m", "gunicorn", "hello.app:app", "-k", "uvicorn.workers.UvicornWorker"]).args([
        "--bind",
        bind,
        "--workers",
        &workers.to_string(),
        "--no-control-socket",
    ]);
    Ok(command)
}

/// A server on a Unix-domain socket in this folder, and the socket's path.
pub fn on_unix_socket(by_gunicorn: bool, folder: &Path) -> Result<(Server, PathBuf)> {
    let path = folder.join("app.sock");
    let bind = format!("unix:{}", path.display());
    let command = if by_gunicorn {
        gunicorn(&bind, 1)?
    } else {
        let mut command = Command::new(python()?);
        command
            .args([
                "-m",
                "uvicorn",
                "hello.app:app",
                "--no-access-log",
                "--timeout-keep-alive",
                "120",
                "--uds",
            ])
            .arg(&path);
        command.current_dir(targets());
        command
    };
    let mut server = Server::spawn(command, free_addr(V4)?)?;
    server.wait_until(|| UnixStream::connect(&path).is_ok())?;
    Ok((server, path))
}

/// A program that asks the server on this port `rounds` times for all it has, once it is released, and logs each call.
pub fn caller(port: u16, rounds: usize) -> Result<Server> {
    let mut command = Command::new(python()?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/caller.py"));
    command.args([port.to_string(), rounds.to_string()]);
    Server::spawn(command, free_addr(V4)?)
}

/// nginx in front of a server, which also serves `/static/` from a folder itself, by sendfile.
pub fn nginx(upstream: &str, folder: &Path) -> Result<Server> {
    let addr = free_addr(V4)?;
    let at = folder.display();
    let config = format!(
        "worker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log;\ndaemon off;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n access_log off;\n sendfile on;\n keepalive_timeout 120;\n keepalive_requests 100000;\n\
         client_body_temp_path {at}/body;\n proxy_temp_path {at}/proxy;\n fastcgi_temp_path {at}/fastcgi;\n\
         uwsgi_temp_path {at}/uwsgi;\n scgi_temp_path {at}/scgi;\n client_max_body_size 100m;\n\
         upstream app {{ server {upstream}; keepalive 16; }}\n\
         server {{\n listen {addr};\n location /static/ {{ alias {at}/static/; }}\n\
         location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host upstream.test; }}\n }}\n}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, config).context("failed to write nginx's configuration")?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&path).arg("-p").arg(folder);
    let mut server = Server::spawn(command, addr)
        .context("failed to start nginx: install it (apt-get install nginx-light)")?;
    server.wait_until(|| TcpStream::connect(addr).is_ok())?;
    Ok(server)
}
