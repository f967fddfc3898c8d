//! Builds the kernel side (`probe-ebpf`, binaries `probe-kernel` and `probe-inject`) for the BPF target and leaves the
//! objects in `OUT_DIR`, from where their loaders embed them.
//!
//! It installs nothing: the tool chain (rust-src, bpf-linker) comes from `cargo xtask setup`. With `PROBE_SKIP_EBPF=1`
//! it writes empty objects instead, so that clippy and docs work on a machine without that tool chain; the loader
//! names an empty object as such.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Names of the kernel binaries, as in probe-ebpf/Cargo.toml.
const KERNEL_BINS: [&str; 2] = ["probe-kernel", "probe-inject"];
const LINKER: &str = "bpf-linker";
const SKIP: &str = "PROBE_SKIP_EBPF";
/// Both byte orders, because the linker is the same program and only one of the two targets is ever built.
const LINKER_VARIABLES: [&str; 2] =
    ["CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", "CARGO_TARGET_BPFEB_UNKNOWN_NONE_LINKER"];

fn main() -> Result<()> {
    watch();
    let out = PathBuf::from(env::var_os("OUT_DIR").context("failed to read `OUT_DIR`\nbuild with cargo")?);
    if env::var_os(SKIP).is_some_and(|value| value == "1") {
        println!("cargo:warning={SKIP}=1: the kernel objects are left empty, this probe cannot attach");
        for object in KERNEL_BINS.map(|name| out.join(name)) {
            fs::write(&object, []).with_context(|| format!("failed to write `{}`", object.display()))?;
        }
        return Ok(());
    }

    let mut environment = linker_environment()?;
    let compiler = Compiler::choose()?;
    if let Compiler::Plain { dir } = &compiler {
        environment.push(("PATH", path_without_rustup(dir)?));
    }
    // Lets `-Z build-std=core` work on a stable compiler: no nightly to install, and the same compiler on both sides.
    environment.push(("RUSTC_BOOTSTRAP", OsString::from("1")));
    // Our warnings are replayed by cargo on every later build: progress lines of the inner build do not belong there.
    environment.push(("CARGO_TERM_QUIET", OsString::from("true")));
    for (name, value) in environment {
        // SAFETY: this process has a single thread until aya-build starts one below, so nobody reads the
        // environment while it changes.
        unsafe { env::set_var(name, value) };
    }

    let features: &[&str] =
        if env::var_os("CARGO_FEATURE_KERNEL_LOG").is_some() { &["kernel-log"] } else { &[] };
    let package = aya_build::Package {
        name: "probe-ebpf",
        root_dir: "../probe-ebpf",
        no_default_features: false,
        features,
    };
    aya_build::build_ebpf([package], compiler.toolchain()).context(
        "failed to build the kernel side `probe-ebpf`\nrun `cargo xtask setup`, or set PROBE_SKIP_EBPF=1 to build without it",
    )
}

/// Names what the kernel object depends on. aya-build watches probe-ebpf only: without probe-common a changed wire
/// struct would leave the old object in place, without the manifests a new aya-ebpf or profile would.
fn watch() {
    for path in
        ["build.rs", "../probe-common/src", "../probe-common/Cargo.toml", "../Cargo.toml", "../Cargo.lock"]
    {
        println!("cargo:rerun-if-changed={path}");
    }
    for variable in [SKIP, "XDG_CACHE_HOME"].iter().chain(&LINKER_VARIABLES) {
        println!("cargo:rerun-if-env-changed={variable}");
    }
}

/// The variables that tell the inner cargo where the linker is; empty where the user has named one already.
fn linker_environment() -> Result<Vec<(&'static str, OsString)>> {
    if LINKER_VARIABLES.iter().any(|variable| env::var_os(variable).is_some()) {
        return Ok(Vec::new());
    }
    let Some(linker) = find_linker() else {
        bail!(
            "failed to find `{LINKER}` in PATH and `{}`\nrun `cargo xtask setup`, or set {SKIP}=1 to build without the kernel side",
            cache_bin().unwrap_or_default().display()
        );
    };
    println!("cargo:rerun-if-changed={}", linker.display());
    Ok(LINKER_VARIABLES.map(|variable| (variable, linker.clone().into_os_string())).to_vec())
}

/// The linker of `cargo xtask setup` wins over one in PATH, because it was built for this compiler's LLVM.
fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    cache_bin()
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(LINKER))
        .find(|file| file.is_file())
}

/// Where `cargo xtask setup` installs programs.
fn cache_bin() -> Option<PathBuf> {
    let absolute = |dir: &PathBuf| dir.is_absolute();
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(absolute);
    let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("probe/bin"))
}

/// Which Rust builds the kernel side. `core` must be built for the BPF target, so its sources have to be there;
/// `cargo xtask setup` chooses by the same rule.
enum Compiler {
    /// The one that builds us, under its name in rustup.
    Rustup(String),
    /// One outside of rustup (a distribution's), by the directory that holds its cargo and rustc.
    Plain { dir: PathBuf },
}

impl Compiler {
    fn choose() -> Result<Self> {
        let cargo = env::var_os("CARGO").context("failed to read `CARGO`\nbuild with cargo")?;
        let own = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        // Where rustup can't fetch the sources, set-up takes Debian's Rust, which comes with them as a package.
        let debian = Path::new("/usr/bin");
        if !has_sources(&own) && has_sources(debian.join("rustc").as_os_str()) {
            return Ok(Self::Plain { dir: debian.to_owned() });
        }
        Ok(match env::var("RUSTUP_TOOLCHAIN") {
            Ok(name) => Self::Rustup(name),
            Err(_) => Self::Plain { dir: Path::new(&cargo).parent().unwrap_or(debian).to_owned() },
        })
    }

    /// As aya-build wants it: without rustup in PATH it ignores the name.
    fn toolchain(&self) -> aya_build::Toolchain<'_> {
        aya_build::Toolchain::Custom(match self {
            Self::Rustup(name) => name,
            Self::Plain { .. } => "",
        })
    }
}

fn has_sources(rustc: &OsStr) -> bool {
    let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
}

/// A search path on which aya-build finds the cargo of `dir`, and no rustup, which it would ask for a tool chain.
fn path_without_rustup(dir: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let others = env::split_paths(&path).filter(|dir| !dir.join("rustup").exists());
    let dirs = std::iter::once(dir.to_owned()).chain(others);
    env::join_paths(dirs).context("failed to join the search path `PATH`")
}
