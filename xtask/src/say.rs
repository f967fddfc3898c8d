//! The one place that prints: progress and errors go to stderr as whole lines, so that parallel tracks don't mix.

use std::io::{self, Write as _};

/// Prints a line on stderr.
macro_rules! say {
    ($($arg:tt)*) => { $crate::say::line(&format!($($arg)*)) };
}
pub(crate) use say;

pub(crate) fn line(text: &str) {
    // A closed stderr must not end the work: nobody is there to read about it.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
