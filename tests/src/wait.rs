//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long anything that should happen soon may take on a machine that is emulated, or busy with other things.
pub const SOON: Duration = Duration::from_mins(3);

/// Looks until there is something to see; an error of `look` ends the wait.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().with_context(|| format!("failed while waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what} did not happen within {limit:?}");
        }
        // sleep: the pause between two looks; what is waited for is the condition.
        std::thread::sleep(Duration::from_millis(3));
    }
}
