//! How a command ends: outcomes, refusals and the exit codes, which are defined here and nowhere else.
//!
//! | code | meaning                                   | from                                         |
//! |------|-------------------------------------------|----------------------------------------------|
//! | 0    | pass, warn, or nothing to judge           | [`Outcome::Ok`]                              |
//! | 1    | probe could not do its work               | [`Outcome::Unable`], any error               |
//! | 2    | usage or profile error                    | clap, [`Refusal`] made by [`Refusal::usage`] |
//! | 3    | an objective failed                       | [`Outcome::Failed`]                          |
//! | 4    | inconclusive                              | [`Outcome::Inconclusive`]                    |
//! | 130  | stopped at once by a second signal        | [`super::stop`]                              |

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// How a command ended that could do its work, or that has already said why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Pass, warn, or nothing to judge.
    Ok,
    /// The command told on stdout what is in the way (`doctor`).
    Unable,
    /// An objective failed.
    Failed,
    /// Nothing failed, but an objective could not be judged.
    Inconclusive,
}

impl Outcome {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unable => CODE_UNABLE,
            Self::Failed => 3,
            Self::Inconclusive => 4,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// probe could not do its work.
const CODE_UNABLE: u8 = 1;
/// Usage or profile error; clap uses the same.
const CODE_USAGE: u8 = 2;

/// Something in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One sentence, lower case, without a final dot.
    pub what: String,
    /// What helps; empty when the sentence says it already.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\nremedy: {}", self.remedy) }
    }
}

/// A refusal to start: every problem that was found, not only the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way, never empty.
    pub problems: Vec<Problem>,
    /// The fault is in the command line or the profile.
    pub is_usage: bool,
}

impl Refusal {
    /// probe cannot do its work here.
    pub fn unable(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problems: vec![Problem { what: what.into(), remedy: remedy.into() }], is_usage: false }
    }

    /// The command line or the profile is at fault.
    pub fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::unable(what, remedy) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentences: Vec<&str> = self.problems.iter().map(|problem| problem.what.as_str()).collect();
        f.write_str(&sentences.join("; "))
    }
}

impl std::error::Error for Refusal {}

/// Tells an error to a person: each problem on a line, with its remedy on the next. Gives the exit code.
pub fn tell(error: &anyhow::Error, to: &mut dyn Write) -> ExitCode {
    let refusal = find_refusal(error);
    let lines: Vec<String> = match refusal {
        Some(refusal) => refusal.problems.iter().map(Problem::to_string).collect(),
        None => vec![format!("error: {error:#}")],
    };
    // Names of processes and files are anybody's choice, and this goes to a terminal.
    let text: String =
        lines.join("\n").chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    // Nothing is left to tell it to when stderr is closed.
    let _ = writeln!(to, "{text}");
    ExitCode::from(if refusal.is_some_and(|refusal| refusal.is_usage) { CODE_USAGE } else { CODE_UNABLE })
}

/// A refusal is looked for as the error, as a context, and among the causes.
fn find_refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.downcast_ref().or_else(|| error.chain().find_map(|cause| cause.downcast_ref()))
}

/// Stdout is a terminal, and its user did not ask for plain text (<https://no-color.org>).
pub fn is_colour_wanted() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes the report to stdout. A reader that went away (`probe … | head`) is no error: it has read what
/// it wanted.
pub fn print_report(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes to stderr what is for the machine that runs us. Nobody reads it when stderr is closed.
pub fn print_annotations(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    fn told(error: &anyhow::Error) -> (String, ExitCode) {
        let mut text = Vec::new();
        let code = tell(error, &mut text);
        (String::from_utf8(text).unwrap(), code)
    }

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let error = anyhow!("no such file").context("failed to read `x`");
        assert_eq!(told(&error).0, "error: failed to read `x`: no such file\n");
        assert_eq!(format!("{:?}", told(&error).1), format!("{:?}", ExitCode::from(1)));
    }

    #[test]
    fn a_refusal_is_found_wherever_it_stands() {
        let refusal = || Refusal::usage("bad thing", "do it well");
        let expected = "error: bad thing\nremedy: do it well\n";
        for error in [
            anyhow::Error::new(refusal()),
            anyhow::Error::new(refusal()).context("outer"),
            Err::<(), _>(anyhow!("inner")).context(refusal()).unwrap_err(),
        ] {
            assert_eq!(told(&error).0, expected);
            assert_eq!(format!("{:?}", told(&error).1), format!("{:?}", ExitCode::from(2)));
        }
    }
}
