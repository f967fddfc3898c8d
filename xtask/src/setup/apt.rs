//! Debian packages, through sudo where we are not root.

use anyhow::{Context, Result, bail};

use super::board::Board;
use crate::{exec, paths};

/// Another apt (unattended upgrades on a fresh machine) gets this long to finish.
const LOCK_OPTION: &str = "DPkg::Lock::Timeout=300";

/// Installs what is named; nothing to do for an empty list.
pub(crate) fn install(board: &Board, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if paths::find_program("apt-get").is_none() {
        bail!(
            "failed to install `{names}`: no apt-get here\ninstall these programs by hand and run this again"
        );
    }
    board.step(&format!("apt packages {names}"), |log| {
        let apt = |words: &[&str]| {
            let mut command = exec::as_root("env");
            // RUNLEVEL: a server that comes with a package is not to be started.
            command
                .args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-o", LOCK_OPTION])
                .args(words);
            exec::logged(&mut command, log)
        };
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(packages);
        // A machine that has package lists needs no new ones, and fetching them takes longer than the packages.
        if apt(&install).is_ok() {
            return Ok(());
        }
        apt(&["update"])?;
        apt(&install).with_context(|| {
            format!("failed to install `{names}`\ninstall them by hand: apt-get install {names}")
        })
    })
}
