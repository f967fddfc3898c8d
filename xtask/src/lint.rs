//! `cargo xtask lint`: formatting, clippy for both sides, house rules. `cargo xtask deny`: the dependencies.

use anyhow::{Result, bail};

use crate::say::say;
use crate::setup::{self, Goal};
use crate::{exec, paths, tidy};

type Step = fn() -> Result<()>;

/// Everything at once: who has three kinds of mistakes wants to hear of all of them.
pub(crate) fn run() -> Result<()> {
    // clippy runs probe/build.rs, which needs the tool chain.
    setup::run(Goal::Demo, &[])?;
    let steps: [(&str, Step); 4] =
        [("rustfmt", format), ("clippy, host", host), ("clippy, kernel", kernel), ("tidy", tidy::run)];
    let mut n_failed = 0;
    for (name, step) in steps {
        say!("lint: {name}");
        if let Err(error) = step() {
            say!("{error:#}");
            n_failed += 1;
        }
    }
    if n_failed > 0 {
        bail!("failed {n_failed} of {} lint steps, see above", steps.len());
    }
    say!("lint: all clean");
    Ok(())
}

fn format() -> Result<()> {
    exec::exec(exec::cargo().args(["fmt", "--all", "--", "--check"]))
}

fn host() -> Result<()> {
    exec::exec(exec::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// The kernel's code is compiled for its own target only, so the host's run sees next to nothing of it.
fn kernel() -> Result<()> {
    let mut cargo = exec::cargo();
    cargo.args([
        "clippy",
        "--package",
        "probe-ebpf",
        "--bins",
        "--release",
        "--target",
        "bpfel-unknown-none",
    ]);
    // A directory of its own: many build scripts look at RUSTC_BOOTSTRAP, and in a shared one they and all that
    // depends on them would be built anew each time we come and go.
    cargo.args(["-Z", "build-std=core", "--target-dir", "target/kernel-lint", "--", "-D", "warnings"]);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    // The cfg by which aya-ebpf chooses its register layout, as aya-build sets it.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH));
    exec::exec(&mut cargo)
}

/// Licences, duplicates, sources, known holes. Not a part of `lint`: the tool takes minutes to build, and the list of
/// holes comes over the network.
pub(crate) fn deny() -> Result<()> {
    if paths::find_program("cargo-deny").is_none() {
        bail!("failed to find `cargo-deny`\ninstall it: cargo install --locked cargo-deny");
    }
    exec::exec(exec::cargo().args(["deny", "--config", ".deny.toml", "check"]))
}
