//! Names of endpoints as a profile writes them: routes (`GET /stages/{id}`) and the patterns of objectives
//! (`GET *`). Only their grammar; which request belongs to which is decided in `aggregate::endpoint`.

use std::fmt;

/// More segments than that are no route of an application.
const MAX_SEGMENTS: usize = 32;

/// One piece of a route's path between slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Must stand there literally.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Parameter,
    /// `{name:path}`, only at the end: all that follows, slashes included.
    Rest,
}

/// A route of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Only this method; none for any.
    pub method: Option<String>,
    /// The path as the profile writes it, parameter names included.
    pub path: String,
    /// The same in pieces.
    pub segments: Vec<Segment>,
}

impl Route {
    /// Reads `METHOD /path/{parameter}` or `/path/{parameter}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, text),
        };
        if let Some(method) = method {
            check_method(method)?;
        }
        if !path.starts_with('/') {
            return Err(format!("route `{text}` has a path that does not begin with `/`"));
        }
        check_path_characters(path).map_err(|what| format!("route `{text}` {what}"))?;
        let pieces: Vec<&str> = split_path(path).collect();
        if pieces.len() > MAX_SEGMENTS {
            return Err(format!("route `{text}` has more than {MAX_SEGMENTS} segments"));
        }
        let mut segments = Vec::with_capacity(pieces.len());
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == pieces.len();
            segments.push(
                parse_segment(piece, is_last).map_err(|what| format!("route `{text}`: `{piece}` {what}"))?,
            );
        }
        Ok(Self { method: method.map(str::to_owned), path: path.to_owned(), segments })
    }

    /// A request with this method and path is one of this route.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        if self.method.as_deref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let mut pieces = split_path(path);
        for segment in &self.segments {
            let is_fit = match (segment, pieces.next()) {
                (Segment::Rest, piece) => return piece.is_some(),
                (Segment::Literal(wanted), Some(piece)) => wanted == piece,
                (Segment::Parameter, Some(piece)) => !piece.is_empty(),
                (_, None) => false,
            };
            if !is_fit {
                return false;
            }
        }
        pieces.next().is_none()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// The segments of a path: what stands between its slashes, without the first.
pub fn split_path(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn parse_segment(piece: &str, is_last: bool) -> Result<Segment, &'static str> {
    let Some(name) = piece.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return if piece.contains(['{', '}', '*']) {
            Err("mixes text and a parameter, which must fill its segment: `{name}`")
        } else {
            Ok(Segment::Literal(piece.to_owned()))
        };
    };
    let (name, convertor) = name.split_once(':').unwrap_or((name, ""));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("has no proper parameter name (letters, digits and `_`)");
    }
    match convertor {
        "" | "int" | "str" | "float" | "uuid" => Ok(Segment::Parameter),
        "path" if is_last => Ok(Segment::Rest),
        "path" => Err("takes the rest of the path and must stand at its end"),
        _ => Err("has an unknown convertor (int, str, float, uuid or path)"),
    }
}

pub(super) fn check_method(method: &str) -> Result<(), String> {
    if !method.is_empty() && method.len() <= 32 && method.chars().all(|c| c.is_ascii_uppercase() || c == '-')
    {
        return Ok(());
    }
    Err(format!("`{method}` is not an HTTP method (upper-case letters, one space behind it)"))
}

pub(super) fn check_path_characters(path: &str) -> Result<(), &'static str> {
    if !path.chars().all(|c| c.is_ascii_graphic()) {
        return Err("holds a space, a control character or a non-ASCII one");
    }
    if path.contains(['?', '#']) {
        return Err("holds a query or a fragment, which no endpoint has");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn routes() {
        let route = Route::parse("GET /stages/{id}").unwrap();
        assert_eq!(route.method.as_deref(), Some("GET"));
        assert_eq!(route.segments, [Segment::Literal("stages".to_owned()), Segment::Parameter]);
        assert_eq!(route.to_string(), "GET /stages/{id}");
        let any = Route::parse("/static/{name:path}").unwrap();
        assert_eq!((any.method, any.segments.last()), (None, Some(&Segment::Rest)));
        for bad in [
            "",
            "stages",
            "GET stages",
            "get /x",
            "GET  /x",
            "GET /a b",
            "GET /x?y=1",
            "/x/{}",
            "/x/{a:path}/b",
            "/x/{a:regex}",
            "/x/v{a}",
            "/x/*",
            "/é",
        ] {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = Route::parse(&text);
        }
    }
}
