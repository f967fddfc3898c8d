//! bpf-linker, built against the very LLVM that the compiler uses.
//!
//! It must read the bitcode that rustc writes, so its LLVM may not be older than rustc's. rustc's own libLLVM serves:
//! it exports LLVM's C interface and knows the BPF target, so that no LLVM has to be downloaded. Only where rustc is
//! linked with LLVM statically is the distribution's library taken.

use std::env::consts::ARCH;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt;
use super::board::Board;
use super::rust::Compiler;
use crate::{exec, paths};

const VERSION: &str = "0.13.0";
/// The LLVM versions that this bpf-linker can be built for, as features of its package.
const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 21..=23;

pub(super) fn ensure(board: &Board, compiler: &Compiler) -> Result<()> {
    let cache = paths::make_cache()?;
    if is_installed(&cache, compiler.llvm_major) {
        return Ok(());
    }
    let major = compiler.llvm_major;
    if !LLVM_MAJORS.contains(&major) {
        bail!(
            "failed to choose an LLVM for bpf-linker {VERSION}: `{}` uses LLVM {major}\nuse a Rust with LLVM {} to {}",
            compiler.version,
            LLVM_MAJORS.start(),
            LLVM_MAJORS.end()
        );
    }
    let library = match find_library(compiler) {
        Some(library) => library,
        None => distribution_library(board, compiler)?,
    };
    let prefix = link_prefix(&cache, &library)?;
    let mut install = exec::cargo();
    install
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--no-default-features"])
        .arg(format!("--features=llvm-{major}"))
        // A third of the processor time of its own release profile; a link of our object then takes 2.1 s instead of
        // 1.7 s, because the work in it is LLVM's.
        .args(["--config", "profile.release.opt-level=0", "--config", "profile.release.debug=0"])
        .arg("--root")
        .arg(&cache)
        .env("LLVM_PREFIX", &prefix);
    board.run(&format!("bpf-linker {VERSION} for LLVM {major}"), &mut install)?;
    if is_installed(&cache, major) {
        return Ok(());
    }
    bail!("failed to run `{}`\nits libLLVM is `{}`", program(&cache).display(), library.display())
}

fn program(cache: &Path) -> PathBuf {
    cache.join("bin/bpf-linker")
}

/// Built by us for this LLVM or a newer one, and its library is still there (an updated tool chain removes the old one).
fn is_installed(cache: &Path, llvm_major: u32) -> bool {
    let record = fs::read_to_string(cache.join(".crates2.json")).unwrap_or_default();
    let recorded = |major: u32| record.contains(&format!("\"llvm-{major}\""));
    record.contains(&format!("\"bpf-linker {VERSION} "))
        && (llvm_major..=*LLVM_MAJORS.end()).any(recorded)
        && exec::succeeds(exec::command(program(cache)).arg("--version"))
}

/// rustc's own libLLVM, or the distribution's of the same version.
fn find_library(compiler: &Compiler) -> Option<PathBuf> {
    let major = compiler.llvm_major;
    let places = [
        compiler.sysroot.join("lib"),
        format!("/usr/lib/{ARCH}-linux-gnu").into(),
        format!("/usr/lib/llvm-{major}/lib").into(),
        "/usr/lib64".into(),
    ];
    let wanted = format!("libLLVM.so.{major}.");
    let is_wanted =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&wanted));
    let files = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten();
    files.filter_map(|entry| entry.ok().map(|entry| entry.path())).find(is_wanted)
}

fn distribution_library(board: &Board, compiler: &Compiler) -> Result<PathBuf> {
    let package = format!("libllvm{}", compiler.llvm_major);
    exec::authenticate(&format!("to install {package}"))?;
    apt::install(board, &[&package])?;
    find_library(compiler).with_context(|| format!("failed to find libLLVM after installing `{package}`"))
}

/// A prefix as bpf-linker's build wants it: `lib/libLLVM.so`, and beside it the name that the loader will look for,
/// since this directory becomes the program's run path.
fn link_prefix(cache: &Path, library: &Path) -> Result<PathBuf> {
    let prefix = cache.join("llvm");
    let lib = prefix.join("lib");
    // Links of an earlier tool chain would only confuse.
    let _ = fs::remove_dir_all(&lib);
    paths::make_dir(&lib)?;
    let own_name = library.file_name().with_context(|| format!("failed to name `{}`", library.display()))?;
    for name in ["libLLVM.so".as_ref(), own_name] {
        let link = lib.join(name);
        symlink(library, &link).with_context(|| format!("failed to link `{}`", link.display()))?;
    }
    Ok(prefix)
}
