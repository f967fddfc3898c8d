//! The emulated machine: one QEMU process that never outlives us, and three lines out of it.
//!
//! Software emulation: hardware's own is not to be had inside most virtual machines, and what is proven here is
//! correctness, not speed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::fetch::Kernel;
use crate::{exec, paths, stop};

/// What a machine is given.
pub(crate) struct Size {
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    /// It is ended after this time.
    pub(crate) limit: Duration,
}

/// Lines of the console that an error repeats.
const CONSOLE_TAIL: usize = 15;
/// The machine is off at once when its last word is said.
const OFF: Duration = Duration::from_secs(10);

/// Files and sockets of one machine, gone with it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing of value, and nobody to tell.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Boots, hands the command's output to `out` and `err` as it comes, and gives its exit code.
pub(crate) fn run(
    kernel: &Kernel,
    archive: &[u8],
    size: &Size,
    out: impl Write + Send + 'static,
    err: impl Write + Send + 'static,
) -> Result<u8> {
    // In the system's temporary directory: a socket's path has room for 107 bytes.
    let scratch =
        Scratch(std::env::temp_dir().join(format!("probe-vm-{}-{}", std::process::id(), kernel.release)));
    let dir = &scratch.0;
    paths::make_dir(dir)?;
    let initial = dir.join("initial");
    fs::write(&initial, archive).with_context(|| format!("failed to write `{}`", initial.display()))?;
    let lines = ["out", "err", "end"].map(|name| listen(dir, name));
    let [out_line, err_line, end_line] = lines;
    let (out_line, err_line, end_line) = (out_line?, err_line?, end_line?);

    let mut command = qemu(kernel, dir, size);
    let mut child =
        command.spawn().with_context(|| format!("failed to start `{}`", exec::shown(&command)))?;
    let began = Instant::now();
    let result = (|| {
        let out = forward(accept(&out_line, &mut child)?, out);
        let err = forward(accept(&err_line, &mut child)?, err);
        let end = accept(&end_line, &mut child)?;
        let ended = wait(&mut child, began, size.limit);
        // The lines end with the machine.
        for line in [out, err] {
            line.join().ok().context("failed to read the machine's output")??;
        }
        ended?;
        exit_code(end)
    })();
    if child.try_wait().ok().flatten().is_none() {
        exec::end_group(&mut child, Signal::SIGTERM);
    }
    result.with_context(|| {
        let console = exec::tail(&dir.join("console"), CONSOLE_TAIL);
        let said = exec::tail(&dir.join("qemu"), CONSOLE_TAIL);
        format!("failed to run a command under Linux {}\nits console: {console}\n{said}", kernel.release)
    })
}

fn qemu(kernel: &Kernel, dir: &Path, size: &Size) -> Command {
    let program = kernel.processor.qemu();
    // Dies with us even where we are killed. Not a part of every system, and only a second line of defence.
    let mut command = match paths::find_program("setpriv") {
        Some(setpriv) => {
            let mut command = exec::command(setpriv);
            command.args(["--pdeathsig", "KILL", "--", program]);
            command
        }
        None => exec::command(program),
    };
    // One thread for all processors: with several, code that a kernel patches while another processor runs it (static
    // keys, which bpf statistics are) was seen to end in a panic of the guest.
    let at = |name: &str| dir.join(name).display().to_string().replace(',', ",,");
    command
        .args(kernel.processor.machine())
        .args(["-accel", "tcg,thread=single", "-smp", &size.cpus.to_string()])
        .args(["-m", &size.memory_mib.to_string(), "-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-serial", &format!("file:{}", at("console"))])
        .arg("-kernel")
        .arg(kernel.image())
        .args(["-initrd", &at("initial"), "-append"])
        // A panic ends the machine. Nobody attacks this kernel.
        .arg(format!("{} quiet panic=-1 mitigations=off nokaslr", kernel.processor.boot()))
        .args(["-fsdev", "local,id=host,path=/,security_model=none,multidevs=remap,readonly=on"])
        .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host", "-device", "virtio-serial-pci"]);
    for name in ["out", "err", "end"] {
        command.args(["-chardev", &format!("socket,id={name},path={}", at(name))]);
        command.args(["-device", &format!("virtserialport,chardev={name},name={name}")]);
    }
    // Its own group: Ctrl-C reaches it through us, once.
    command.process_group(0).stdin(std::process::Stdio::null());
    if let Ok(log) = File::create(dir.join("qemu")) {
        if let Ok(copy) = log.try_clone() {
            command.stdout(copy);
        }
        command.stderr(log);
    }
    command
}

fn listen(dir: &Path, name: &str) -> Result<UnixListener> {
    let path = dir.join(name);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("failed to bind `{}`", path.display()))?;
    listener.set_nonblocking(true).context("failed to prepare a socket")?;
    Ok(listener)
}

/// QEMU connects before it starts the machine, or ends.
fn accept(listener: &UnixListener, child: &mut Child) -> Result<UnixStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("failed to prepare a socket")?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("failed to accept the machine's line"),
        }
        if let Some(status) = child.try_wait().context("failed to wait for the machine")? {
            bail!("the machine did not start: {status}");
        }
        stop::check()?;
        sleep(exec::POLL);
    }
}

fn forward(mut from: UnixStream, mut to: impl Write + Send + 'static) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return to.flush(),
                Ok(n) => {
                    to.write_all(&buffer[..n])?;
                    to.flush()?;
                }
                // What an ended machine leaves.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return to.flush(),
                Err(error) => return Err(error),
            }
        }
    })
}

fn wait(child: &mut Child, began: Instant, limit: Duration) -> Result<()> {
    loop {
        if let Some(status) = child.try_wait().context("failed to wait for the machine")? {
            if !status.success() {
                bail!("the machine ended with {status}");
            }
            return Ok(());
        }
        let why = if stop::requested() {
            "stopped".to_owned()
        } else if began.elapsed() > limit {
            format!("stopped after {} s (--timeout)", limit.as_secs())
        } else {
            sleep(exec::POLL);
            continue;
        };
        exec::end_group(child, Signal::SIGTERM);
        bail!(why);
    }
}

/// What the job said last.
fn exit_code(mut end: UnixStream) -> Result<u8> {
    let mut text = String::new();
    end.set_read_timeout(Some(OFF)).context("failed to prepare a socket")?;
    // An error here is the same as no answer.
    let _ = end.read_to_string(&mut text);
    text.trim().parse().ok().context("the machine ended before the command did")
}
