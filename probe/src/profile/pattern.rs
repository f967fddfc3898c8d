//! Patterns: which subjects an objective is about.

use super::metric::Kind;
use super::route::{check_method, check_path_characters};

/// The longest name of a subject, characters: names are paths at most.
const MAX_NAME_CHARS: usize = 1000;

/// Which subjects of a kind an objective binds to, each on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    kind: Kind,
    text: String,
}

impl Pattern {
    /// Reads a name in which `*` stands for anything; an endpoint is `METHOD /path`, or `*`.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        if kind == Kind::Endpoint {
            check_endpoint(text)?;
        } else {
            check_name(kind, text)?;
        }
        Ok(Self { kind, text: text.to_owned() })
    }

    /// As the profile writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// It may match more than one subject.
    pub fn is_wildcard(&self) -> bool {
        self.text.contains('*')
    }

    /// The kind of its subjects.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The subject of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        if self.kind == Kind::Endpoint && self.text != "*" {
            self.matches_endpoint(name)
        } else {
            matches_glob(&self.text, name)
        }
    }

    fn matches_endpoint(&self, endpoint: &str) -> bool {
        let (Some((method, path)), Some((wanted_method, wanted_path))) =
            (endpoint.split_once(' '), self.text.split_once(' '))
        else {
            return false;
        };
        (wanted_method == "*" || wanted_method == method) && matches_glob(wanted_path, path)
    }
}

/// `*` in the pattern stands for any text; everything else for itself.
pub(super) fn matches_glob(pattern: &str, text: &str) -> bool {
    let Some((head, pattern_rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces: Vec<&str> = pattern_rest.split('*').collect();
    let tail = pieces.pop().unwrap_or_default();
    // The leftmost match of each piece leaves the most room for those behind it.
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(tail)
}

fn check_endpoint(text: &str) -> Result<(), String> {
    if text == "*" {
        return Ok(());
    }
    let Some((method, path)) = text.split_once(' ') else {
        return Err(format!(
            "endpoint `{text}` is not `METHOD /path` (`*` stands for any method, any path, or both)"
        ));
    };
    if method != "*" {
        check_method(method)?;
    }
    if !(path.starts_with('/') || path == "*") {
        return Err(format!("endpoint `{text}` has a path that does not begin with `/` and is not `*`"));
    }
    if path.contains("**") {
        return Err(format!("endpoint `{text}` holds `**`; one `*` stands for anything, slashes included"));
    }
    check_path_characters(path).map_err(|what| format!("endpoint `{text}` {what}"))
}

fn check_name(kind: Kind, text: &str) -> Result<(), String> {
    let is_fit =
        !text.is_empty() && text.chars().count() <= MAX_NAME_CHARS && !text.contains(char::is_control);
    if is_fit {
        Ok(())
    } else {
        Err(format!("`{}` is no name of 1 to {MAX_NAME_CHARS} printable characters", kind.key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, endpoint, expected) in [
            ("*", "GET /a", true),
            ("*", "other", true),
            ("GET *", "GET /a/b", true),
            ("GET *", "PUT /a/b", false),
            ("* /stages/{id}", "PUT /stages/{id}", true),
            ("* /stages/{id}", "PUT /stages/{id}/x", false),
            ("GET /stages/*", "GET /stages/{id}/x", true),
            ("GET /a/*/c", "GET /a/b/b/c", true),
            ("GET /a/*/c", "GET /a/c", false),
            ("GET /a*a", "GET /a", false),
            ("POST /upload", "POST /upload", true),
            ("POST /upload", "POST /uploads", false),
            ("GET *", "other", false),
        ] {
            assert_eq!(
                Pattern::parse(Kind::Endpoint, pattern).unwrap().matches(endpoint),
                expected,
                "{pattern} {endpoint}"
            );
        }
        for bad in ["", "/upload", "GET", "GET upload", "G*T /x", "GET /**", "GET /a b", "**"] {
            assert!(Pattern::parse(Kind::Endpoint, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String, name: String, glob in "[*/ab]{0,8}", path in "[/ab]{0,8}") {
            if let Ok(pattern) = Pattern::parse(Kind::Endpoint, &text) {
                pattern.matches(&name);
            }
            matches_glob(&glob, &path);
        }
    }
}
