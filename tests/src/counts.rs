//! Counts that a trial vouches for, said aloud: what they are made of is the same everywhere, so they must be the same
//! on every kernel. `cargo xtask test --kernels` compares them.

use std::sync::{Mutex, PoisonError};

/// What the trial that runs now has said; one at a time does.
static CURRENT: Mutex<Current> = Mutex::new(Current { trial: String::new(), counts: Vec::new(), lost: 0 });

struct Current {
    trial: String,
    counts: Vec<(String, u64)>,
    /// Events that the trial's probes told to be lost, and could not keep.
    lost: u64,
}

fn with<T>(act: impl FnOnce(&mut Current) -> T) -> T {
    act(&mut CURRENT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Says whose counts follow, from nothing.
pub fn begin(trial: &str) {
    with(|current| *current = Current { trial: trial.to_owned(), counts: Vec::new(), lost: 0 });
}

/// Notes a count of the current trial.
pub fn count(what: &str, n: u64) {
    with(|current| current.counts.push((what.replace(' ', "_"), n)));
}

/// Notes that a probe of the current trial told so many events to be lost that it could not keep.
pub fn lost(n: u64) {
    with(|current| current.lost += n);
}

/// All of those of the current trial.
pub fn n_lost() -> u64 {
    with(|current| current.lost)
}

/// Tells the current trial's counts.
#[expect(clippy::print_stderr, reason = "lines of the tests' output, for the program that runs them")]
pub fn tell() {
    with(|current| {
        for (what, n) in current.counts.drain(..) {
            eprintln!("count {} {what} {n}", current.trial);
        }
    });
}
