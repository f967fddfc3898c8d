//! Runs probe on an emulated arm64 machine: Debian's kernel, Debian's static busybox as server and client, and a script
//! in the guest that says what the client saw. What probe's report says must be the same.

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::findings;
use crate::say::say;
use crate::vm::{self, Processor, Size};
use crate::{exec, paths};

/// Linked statically and by Rust's own linker: no compiler and no library of that processor is needed.
const TARGET: &str = "aarch64-unknown-linux-musl";
/// The kernel line that is booted.
const LINE: &str = "6.12";
/// What the guest does.
const SCRIPT: &str = include_str!("guest.sh");
/// The guest's shell; the host's is for another processor.
const SHELL: [&str; 3] = ["/run/vm/busybox", "sh", "-c"];
const SIZE: Size = Size { cpus: 2, memory_mib: 1024, limit: Duration::from_mins(8) };

pub(super) fn run() -> Result<()> {
    let program = build()?;
    let kernel = vm::kernel(vm::find(LINE)?, Processor::Arm64)?;
    let command =
        SHELL.map(str::to_owned).into_iter().chain([SCRIPT.to_owned(), "guest".to_owned(), program]);
    let archive = vm::archive(&kernel, paths::root(), &command.collect::<Vec<_>>())?;
    say!("cross: booting Linux {} on an emulated {}", kernel.release, TARGET);
    let said = Kept::default();
    let code = vm::boot(&kernel, &archive, &SIZE, said.clone(), io::stderr())?;
    let said = said.text();
    if code != 0 {
        bail!("failed to watch a server on Linux {}: exit code {code}\n{said}", kernel.release);
    }
    let findings = findings::read(&said)
        .with_context(|| format!("failed to understand what the machine said\n{said}"))?;
    let differences = findings.differences();
    for line in findings.shown() {
        say!("cross: {line}");
    }
    if !differences.is_empty() {
        bail!("failed to see on arm64 what was there\n{}\n{said}", differences.join("\n"));
    }
    say!("cross: probe on Linux {} saw all of it", kernel.release);
    Ok(())
}

/// Gives the path of the program.
fn build() -> Result<String> {
    super::ensure_library(TARGET)?;
    let own = paths::built("")?;
    let target = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let target =
        target.with_context(|| format!("failed to find the target directory above `{}`", own.display()))?;
    let dir = target.join(TARGET);
    // A crate asks for this library by name; in musl it is a part of the C library.
    let empty = dir.join("empty");
    paths::make_dir(&empty)?;
    let library = empty.join("libdl.a");
    fs::write(&library, "!<arch>\n").with_context(|| format!("failed to write `{}`", library.display()))?;

    let variable = |name: &str| format!("CARGO_TARGET_{}_{name}", TARGET.replace('-', "_").to_uppercase());
    let mut cargo = exec::cargo();
    // The guest reads the program from the host: what only debuggers need stays out.
    cargo
        .args(["rustc", "--package", "probe", "--bin", "probe", "--target", TARGET])
        .args(["--config", "profile.dev.debug=0", "--", "-C", "strip=symbols", "-L"])
        .arg(format!("native={}", empty.display()))
        .env(variable("LINKER"), "rust-lld")
        .env(variable("RUSTFLAGS"), "-C link-self-contained=yes");
    exec::exec(&mut cargo)?;
    Ok(dir.join("debug/probe").display().to_string())
}

/// Output that is kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
