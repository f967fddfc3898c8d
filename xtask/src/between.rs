//! The generated parts of a text: what stands between two lines that mark its begin and its end.

use anyhow::{Context, Result};

/// The text with another part between `begin` and `end`, which are whole lines.
pub(crate) fn replaced(text: &str, begin: &str, end: &str, part: &str) -> Result<String> {
    let place =
        || format!("failed to find the place between `{}` and `{}`", begin.trim_end(), end.trim_end());
    let (before, rest) = text.split_once(begin).with_context(place)?;
    let (_, behind) = rest.split_once(end).with_context(place)?;
    Ok(format!("{before}{begin}{part}{end}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_what_is_between_is_replaced() {
        let text = replaced("a\nBEGIN\nold\nEND\nb\n", "BEGIN\n", "END\n", "new\n").unwrap();
        assert_eq!(text, "a\nBEGIN\nnew\nEND\nb\n");
        for text in ["a\n", "BEGIN\n", "END\nBEGIN\n"] {
            assert!(replaced(text, "BEGIN\n", "END\n", "new\n").is_err(), "{text}");
        }
    }
}
