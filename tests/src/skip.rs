//! Which trials can run here: a trial that the machine can't run shows as ignored, with the reason in its
//! name, and nothing else is ever skipped.

use libtest_mimic::{Failed, Trial};
use nix::unistd::geteuid;

/// What stands between this machine and the kernel tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// What this machine lacks.
    #[must_use]
    pub fn new(what: &str) -> Self {
        Self(what.to_owned())
    }
}

/// Why no kernel test can run here; none when they can.
#[must_use]
pub fn obstacle(loads_programs: impl FnOnce() -> Result<(), String>) -> Option<Reason> {
    if !geteuid().is_root() {
        return Some(Reason("needs root".to_owned()));
    }
    loads_programs().err().map(|error| Reason(format!("the kernel refuses BPF: {error}")))
}

/// The kernel was built without something that a trial needs.
#[must_use]
pub fn lacks(what: &str) -> Reason {
    Reason(format!("the kernel lacks {what}"))
}

/// Makes a trial of a test function, ignored where there is an obstacle.
pub fn trial(
    name: &str,
    obstacle: Option<&Reason>,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    let name = match obstacle {
        None => name.to_owned(),
        Some(Reason(reason)) => format!("{name} (skipped: {reason})"),
    };
    Trial::test(name, || run().map_err(|error| Failed::from(format!("{error:#}"))))
        .with_ignored_flag(obstacle.is_some())
}
