//! What a trial says beside its verdict.

/// Numbers of a trial, for people.
#[expect(clippy::print_stderr, reason = "the numbers behind a verdict belong beside it")]
pub fn say(line: &str) {
    eprintln!("{line}");
}
