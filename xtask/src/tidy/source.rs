//! A rough reading of Rust, enough for rules on words: what is code, and what of it is tests. It errs on the side of
//! silence: strings that span lines count as code only in their first and last line.

/// A line without its comment and without the contents of its strings.
pub(super) fn code(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => {
                chars.next();
            }
            // A quote as a character literal opens no string.
            '\'' if !in_string && chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => {
                in_string = !in_string;
                code.push('"');
            }
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if !in_string => code.push(c),
            _ => {}
        }
    }
    code
}

/// The numbered lines of a file's code outside of its unit tests, which stand at its end.
pub(super) fn product_lines(path: &str, text: &str) -> Vec<(usize, String)> {
    if path.ends_with("tests.rs") || path.starts_with("tests/") {
        return Vec::new();
    }
    numbered(text)
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(n, line)| (n, code(line)))
        .collect()
}

/// The numbered lines, raw, of a file's tests.
pub(super) fn test_lines<'a>(path: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    if path.ends_with("tests.rs") || path.starts_with("tests/") {
        return numbered(text).collect();
    }
    numbered(text).skip_while(|(_, line)| !line.starts_with("#[cfg(test)]")).collect()
}

pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether `word` stands in `code` with no letter, digit or underscore around it.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let after = &code[at + word.len()..];
        !code[..at].ends_with(is_part) && (!word.ends_with(is_part) || !after.starts_with(is_part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        for (line, expected) in [
            ("let a = 1; // todo!()", "let a = 1; "),
            ("//! dbg!", ""),
            (r#"f("http://x", "a \" b") // c"#, r#"f("", "") "#),
            (r#"let quote = '"'; g()"#, r"let quote = '; g()"),
            ("a / b", "a / b"),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("use aya::Ebpf;", "aya"));
        assert!(has_word("todo!()", "todo!"));
        assert!(!has_word("my_todo!()", "todo!"));
        assert!(!has_word("use aya_ebpf::x;", "aya"));
    }

    #[test]
    fn unit_tests_are_apart() {
        let text = "fn f() {}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(product_lines("probe/src/a.rs", text), [(1, "fn f() {}".to_owned())]);
        assert_eq!(test_lines("probe/src/a.rs", text).len(), 2);
        assert_eq!(product_lines("probe/src/profile/tests.rs", text), []);
        assert_eq!(test_lines("tests/kernel/socket.rs", text).len(), 3);
    }
}
