//! Ctrl-C and its like: one flag that every wait in here looks at, so that whoever started something also ends it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use nix::libc::{SIGHUP, SIGINT, SIGTERM};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on the signals set the flag instead of killing this process. A second Ctrl-C does no more than the
/// first: every shutdown below is bounded in time, and one cut short would leave processes behind.
pub(crate) fn watch() -> Result<()> {
    let flag = REQUESTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .with_context(|| format!("failed to watch for signal `{signal}`"))?;
    }
    Ok(())
}

pub(crate) fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Ends the other tracks of a set-up when one has failed.
pub(crate) fn request() {
    REQUESTED.get_or_init(Arc::default).store(true, Ordering::Relaxed);
}

pub(crate) fn check() -> Result<()> {
    if requested() {
        bail!("stopped");
    }
    Ok(())
}
