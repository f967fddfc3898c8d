//! Servers besides plain uvicorn: what else FastAPI applications are served by, and what stands in front of them.

use std::{
    fs,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

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

/// Python with packages that only some tests need.
pub(crate) fn with_packages(name: &str) -> Result<Command> {
    let mut command = Command::new(python()?);
    command.env("PYTHONPATH", extra(name)?).current_dir(targets());
    Ok(command)
}

/// hypercorn behind TLS, with `key.pem` and `cert.pem` of a folder.
pub fn hypercorn_in_tls(certificate: &Path) -> Result<Server> {
    let addr = free_addr(V4)?;
    let mut command = hypercorn(&addr.to_string())?;
    for (option, file) in [("--keyfile", "key.pem"), ("--certfile", "cert.pem")] {
        command.arg(option).arg(certificate.join(file));
    }
    let mut server = Server::spawn(command, addr)?;
    server.wait_until(|| TcpStream::connect(addr).is_ok())?;
    Ok(server)
}

fn hypercorn(bind: &str) -> Result<Command> {
    let mut command = with_packages("servers")?;
    command.args(["-m", "hypercorn", "hello.app:app", "--bind", bind, "--keep-alive", "120"]);
    // No pings but where a test wants them.
    command.args(["--websocket-ping-interval", "1000"]);
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
            Self::Hypercorn => hypercorn(&bind)?,
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

/// A program that asks the server on this port `rounds` times for all it has, inside TLS or not, once it is released, and
/// logs each call.
pub fn caller(port: u16, rounds: usize, in_tls: bool) -> Result<Server> {
    let scheme = if in_tls { "https" } else { "http" };
    script("caller.py", &[&port.to_string(), &rounds.to_string(), scheme], free_addr(V4)?)
}

/// A program that asks servers on ports that do not answer, once it is released.
pub fn unheard(nobody: u16, silent: u16, going: u16) -> Result<Server> {
    let ports = [nobody, silent, going].map(|port| port.to_string());
    script("unheard.py", &ports.each_ref().map(String::as_str), free_addr(V4)?)
}

/// The same program in a network namespace of its own, in which nobody has the first address, and what is sent to the
/// second one gets lost.
pub fn unheard_off(nobody: &str, mute: &str) -> Result<Server> {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-ec"]).arg(format!(
        "ip link set lo up; ip link add here type veth peer name there\n\
         ip addr add 192.0.2.1/24 dev here; ip link set there up; ip link set here up\n\
         ip neigh add {mute} lladdr 02:00:00:00:00:07 dev here; exec \"$@\""
    ));
    command.arg("sh").arg(python()?).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/unheard.py"));
    command.args(["off", nobody, mute]);
    let mut server = Server::spawn(command, free_addr(V4)?)?;
    let exe = PathBuf::from("/proc").join(server.pid().to_string()).join("comm");
    server.wait_until(|| fs::read_to_string(&exe).is_ok_and(|comm| comm.starts_with("python")))?;
    Ok(server)
}

/// An address on which nobody listens.
pub fn nobody() -> Result<SocketAddr> {
    free_addr(V4)
}

/// A server that moves the files of a folder by sendfile and splice.
pub fn file_server(folder: &Path) -> Result<Server> {
    let addr = free_addr(V4)?;
    let mut server = script("file_server.py", &[&addr.port().to_string(), &folder.to_string_lossy()], addr)?;
    server.wait_until(|| TcpStream::connect(addr).is_ok())?;
    Ok(server)
}

/// The sample pipeline, with all that it keeps in this folder.
pub fn docpipeline(folder: &Path) -> Result<Server> {
    let addr = free_addr(V4)?;
    let mut command = Command::new(python()?);
    command
        .args(["-m", "uvicorn", "docpipeline.app:app", "--no-access-log", "--timeout-keep-alive", "120"])
        .args(["--host", "127.0.0.1", "--port", &addr.port().to_string()])
        .current_dir(targets())
        .env("DOCPIPELINE_DB", folder.join("documents.db"))
        .env("DOCPIPELINE_UPLOADS", folder.join("uploads"))
        .env("DOCPIPELINE_CHECKPOINTS", folder.join("checkpoints"))
        .env("DOCPIPELINE_STAGE_LOG", folder.join("stages.jsonl"));
    let mut server = Server::spawn(command, addr)?;
    server.wait_for_workers(1)?;
    Ok(server)
}

/// Uploads documents to it, one after the other and the same ones each time, with some lists between: seconds of the
/// middle upload by the client's clock.
pub fn upload(pipeline: &Server, documents: u32) -> Result<f64> {
    let output = Command::new(python()?)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("net/pipeline_load.py"))
        .arg(targets())
        .arg(format!("http://{}", pipeline.addr()))
        .arg(documents.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start the pipeline's load")?;
    ensure!(output.status.success(), "the pipeline's load ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let took = text.lines().find_map(|line| line.strip_prefix("upload "));
    took.with_context(|| format!("the load said {text}"))?.parse().context("no number")
}

/// A server whose requests wait for the locks of a database.
pub fn lock_server(database: &Path) -> Result<Server> {
    let addr = free_addr(V4)?;
    let mut command = Command::new(python()?);
    command.arg(targets().join("locks/serve.py")).arg(addr.port().to_string()).arg(database);
    let mut server = Server::spawn(command, addr)?;
    server.wait_for_workers(1)?;
    Ok(server)
}

/// A server of datagrams.
pub fn datagrams() -> Result<Server> {
    let addr = UdpSocket::bind((V4, 0)).and_then(|socket| socket.local_addr())?;
    let mut server = script("datagrams.py", &[&addr.port().to_string()], addr)?;
    server.wait_until(|| UdpSocket::bind(addr).is_err())?;
    Ok(server)
}

fn script(name: &str, arguments: &[&str], addr: SocketAddr) -> Result<Server> {
    let mut command = Command::new(python()?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel").join(name)).args(arguments);
    Server::spawn(command, addr)
}

/// nginx in front of a server, which also serves `/static/` from a folder itself, by sendfile.
pub fn nginx(upstream: &str, folder: &Path) -> Result<Server> {
    nginx_on(upstream, folder, "")
}

/// The same behind TLS, with `key.pem` and `cert.pem` of its folder.
pub fn nginx_in_tls(upstream: &str, folder: &Path) -> Result<Server> {
    let at = folder.display();
    nginx_on(
        upstream,
        folder,
        &format!(
            " ssl;\n ssl_protocols TLSv1.2 TLSv1.3;\n ssl_certificate {at}/cert.pem;\n ssl_certificate_key {at}/key.pem"
        ),
    )
}

/// `more` stands behind the address that it listens on.
fn nginx_on(upstream: &str, folder: &Path, more: &str) -> Result<Server> {
    let addr = free_addr(V4)?;
    let at = folder.display();
    let config = format!(
        "worker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log;\ndaemon off;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n access_log off;\n sendfile on;\n keepalive_timeout 120;\n keepalive_requests 100000;\n\
         client_body_temp_path {at}/body;\n proxy_temp_path {at}/proxy;\n fastcgi_temp_path {at}/fastcgi;\n\
         uwsgi_temp_path {at}/uwsgi;\n scgi_temp_path {at}/scgi;\n client_max_body_size 100m;\n\
         upstream app {{ server {upstream}; keepalive 16; }}\n\
         server {{\n listen {addr}{more};\n location /static/ {{ alias {at}/static/; }}\n\
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
