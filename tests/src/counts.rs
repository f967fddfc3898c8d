//! Counts that a trial vouches for, said aloud: what they are made of is the same everywhere, so they must be the same
//! on every kernel. `cargo xtask test --kernels` compares them.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// The trial that runs now; one at a time does.
static TRIAL: Mutex<String> = Mutex::new(String::new());

/// Runs of programs that the current trial's probe told to be missing.
static MISSED: AtomicU64 = AtomicU64::new(0);

/// Says whose counts follow.
pub fn begin(trial: &str) {
    MISSED.store(0, Ordering::Relaxed);
    if let Ok(mut current) = TRIAL.lock() {
        trial.clone_into(&mut current);
    }
}

/// Tells a count of the current trial.
#[expect(clippy::print_stderr, reason = "a line of the tests' output, for the program that runs them")]
pub fn count(what: &str, n: u64) {
    let trial = TRIAL.lock().map(|trial| trial.clone()).unwrap_or_default();
    if !trial.is_empty() {
        eprintln!("count {trial} {} {n}", what.replace(' ', "_"));
    }
}

/// Notes that the current trial's probe said of so many runs of programs that the kernel left them out.
pub fn missed(n: u64) {
    MISSED.fetch_add(n, Ordering::Relaxed);
}

/// Of those so far, and says so where there are any.
#[expect(clippy::print_stderr, reason = "as above")]
pub fn tell_missed(trial: &str) -> u64 {
    let n = MISSED.load(Ordering::Relaxed);
    if n > 0 {
        eprintln!("missed {trial} {n}");
    }
    n
}
