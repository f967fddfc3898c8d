//! Everything that is wrong with a profile, for people: one line each, with line and column.

use std::fmt;

/// More errors than that are one error: the file is no profile.
const MAX_SHOWN: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// Line and column of the place, both from 1; columns are characters. None for the file as a whole.
    pub place: Option<(usize, usize)>,
    /// What is wrong there.
    pub message: String,
}

/// Why a profile could not be read. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileErrors {
    /// The file.
    pub file: String,
    /// In the order of the file.
    pub errors: Vec<ProfileError>,
}

impl ProfileErrors {
    /// The file itself could not be read.
    pub(crate) fn of_file(file: String, message: String) -> Self {
        Self { file, errors: vec![ProfileError { place: None, message }] }
    }

    /// Errors at byte offsets of the text.
    pub(crate) fn at_offsets(file: String, text: &str, mut errors: Vec<(usize, String)>) -> Self {
        errors.sort_by_key(|(offset, _)| *offset);
        let place = |offset| Some(line_and_column(text, offset));
        let errors = errors
            .into_iter()
            .map(|(offset, message)| ProfileError { place: place(offset), message })
            .collect();
        Self { file, errors }
    }
}

/// The line and column of a byte offset; the end of the text for an offset beyond it.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = before.split(|&byte| byte == b'\n').count();
    // Characters, not bytes: continuation bytes of UTF-8 do not count.
    let column = before[line_start..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count() + 1;
    (line, column)
}

impl fmt::Display for ProfileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file);
        write!(f, "failed to read profile `{file}`: ")?;
        if let [ProfileError { place: None, message }] = self.errors.as_slice() {
            return f.write_str(&printable(message));
        }
        let n_errors = self.errors.len();
        write!(f, "{n_errors} error{}", if n_errors == 1 { "" } else { "s" })?;
        for ProfileError { place, message } in self.errors.iter().take(MAX_SHOWN) {
            let (line, column) = place.unwrap_or((1, 1));
            write!(f, "\n{file}:{line}:{column}: {}", printable(message))?;
        }
        if n_errors > MAX_SHOWN {
            write!(f, "\nand {} more", n_errors - MAX_SHOWN)?;
        }
        Ok(())
    }
}

impl std::error::Error for ProfileErrors {}

/// An error quotes the file, and what it quotes must not steer a terminal or spread over lines.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain = (!c.is_control() && (c.is_ascii() || c.is_alphanumeric())).then_some(c);
            let escaped = plain.is_none().then(|| c.escape_default());
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_lines() {
        let text = "a\nbé = 1\nc";
        for (offset, expected) in
            [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (6, (2, 4)), (10, (3, 1)), (99, (3, 2))]
        {
            assert_eq!(line_and_column(text, offset), expected, "offset {offset}");
        }
    }

    #[test]
    fn quoted_text_is_harmless() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}ü"), "a\\u{1b}[2J\\nb\\u{202e}ü");
    }
}
