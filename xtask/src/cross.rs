//! `cargo xtask cross`: both sides compiled for arm64, without linking: that the registers are behind one file, and nothing
//! else knows the processor.

use anyhow::{Result, bail};

use crate::exec;
use crate::say::say;
use crate::setup::{self, Goal};

const TARGET: &str = "aarch64-unknown-linux-gnu";

pub(crate) fn run() -> Result<()> {
    setup::run(Goal::Demo, &[])?;
    let installed = exec::capture(exec::command("rustup").args(["target", "list", "--installed"]));
    match installed {
        Ok(installed) if installed.lines().any(|line| line == TARGET) => {}
        Ok(_) => exec::exec(exec::command("rustup").args(["target", "add", TARGET]))?,
        Err(error) => bail!("failed to find the library for {TARGET}\nit comes with rustup: {error:#}"),
    }
    // probe's build script compiles the kernel side for the same processor.
    exec::exec(exec::cargo().args(["check", "--package", "probe", "--target", TARGET]))?;
    say!("cross: both sides compile for {TARGET}");
    Ok(())
}
