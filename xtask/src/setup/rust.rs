//! The compiler for the kernel side: any Rust that has its library's sources beside it, since the BPF target comes
//! without a prebuilt `core`. probe/build.rs chooses by the same rule.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt;
use super::board::Board;
use crate::exec;

/// Where Debian's packages put the compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

pub(super) struct Compiler {
    pub(super) version: String,
    pub(super) sysroot: PathBuf,
    pub(super) llvm_major: u32,
}

impl Compiler {
    fn new(rustc: &Path) -> Result<Self> {
        let version = exec::capture(exec::command(rustc).arg("-vV"))?;
        let sysroot = PathBuf::from(exec::capture(exec::command(rustc).args(["--print", "sysroot"]))?);
        let llvm_major = llvm_major(&version)
            .with_context(|| format!("failed to find the LLVM version in `rustc -vV`\nit says: {version}"))?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        Ok(Self { version, sysroot, llvm_major })
    }

    fn has_sources(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
    }
}

/// The compiler that will build the kernel side, with its sources.
pub(super) fn ensure_sources(board: &Board) -> Result<Compiler> {
    let rustc = current();
    let compiler = Compiler::new(&rustc)?;
    if compiler.has_sources() {
        return Ok(compiler);
    }
    if let Ok(debian) = debian()
        && debian.has_sources()
    {
        return Ok(debian);
    }
    let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") else {
        return from_debian(board, &rustc);
    };
    let mut rustup = exec::command("rustup");
    rustup.args(["component", "add", "rust-src", "--toolchain"]).arg(toolchain);
    match board.run("rust-src", &mut rustup) {
        Ok(()) => Ok(compiler),
        // Where only the distribution's mirror can be reached, its compiler builds the kernel side.
        Err(error) => {
            exec::authenticate("to install Debian's Rust, as rustup has no sources").map_err(|_| error)?;
            apt::install(board, &["cargo-web", "rustc-web", "rust-web-src"])?;
            debian()
        }
    }
}

/// A compiler without rustup: its sources are in a package named like its own.
fn from_debian(board: &Board, rustc: &Path) -> Result<Compiler> {
    let remedy = "install the sources of this Rust's library, or use rustup (https://rustup.rs)";
    let real = rustc.canonicalize().with_context(|| format!("failed to resolve `{}`", rustc.display()))?;
    let owner = exec::capture(exec::command("dpkg").arg("-S").arg(&real))
        .with_context(|| format!("failed to find the package of `{}`\n{remedy}", real.display()))?;
    let Some(package) = source_package(&owner) else {
        bail!("failed to find the sources for `{}` ({owner})\n{remedy}", real.display());
    };
    exec::authenticate(&format!("to install {package}"))?;
    apt::install(board, &[package])?;
    Compiler::new(rustc)
}

fn debian() -> Result<Compiler> {
    Compiler::new(Path::new(DEBIAN_RUSTC))
}

/// The compiler beside the cargo that runs us: asking rustup's proxy takes three times as long.
fn current() -> PathBuf {
    let beside = env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    beside.filter(|rustc| rustc.is_file()).unwrap_or_else(|| "rustc".into())
}

fn source_package(dpkg_answer: &str) -> Option<&'static str> {
    match dpkg_answer.split(':').next()?.trim() {
        "rustc-web" => Some("rust-web-src"),
        "rustc" => Some("rust-src"),
        _ => None,
    }
}

fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_version() {
        assert_eq!(llvm_major("rustc 1.95.0\nrelease: 1.95.0\nLLVM version: 22.1.2"), Some(22));
        assert_eq!(llvm_major("rustc 1.95.0\nrelease: 1.95.0"), None);
        assert_eq!(llvm_major("LLVM version: none"), None);
    }

    #[test]
    fn knows_debians_source_packages() {
        assert_eq!(source_package("rustc-web: /usr/lib/rust-web/bin/rustc"), Some("rust-web-src"));
        assert_eq!(source_package("rustc: /usr/bin/rustc"), Some("rust-src"));
        assert_eq!(source_package("my-rust: /opt/rustc"), None);
    }
}
