//! Counts that a trial vouches for, said aloud: what they are made of is the same everywhere, so they must be the same
//! on every kernel. `cargo xtask test --kernels` compares them.

use std::sync::Mutex;

/// The trial that runs now; one at a time does.
static TRIAL: Mutex<String> = Mutex::new(String::new());

/// Says whose counts follow.
pub fn begin(trial: &str) {
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
