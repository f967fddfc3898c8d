//! Request and response heads: what of them decides about framing, and nothing else is kept.

use super::host::Host;

/// Headers of one head that are looked at; a head with more is undecodable.
const MAX_HEADERS: usize = 128;

/// Longest path that is kept, in bytes; the rest is cut (it only serves to name the endpoint).
const MAX_PATH: usize = 256;

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none, or exactly this many bytes.
    Known(u64),
    /// Chunked transfer coding.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// A request head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    /// Bytes of the head, with the empty line.
    pub(super) len: usize,
    pub(super) method: String,
    /// Printable, without query.
    pub(super) path: String,
    pub(super) body: Length,
    /// Whom it asks, where that was wanted and the head says so.
    pub(super) host: Option<Host>,
}

/// A response head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    /// Bytes of the head, with the empty line.
    pub(super) len: usize,
    pub(super) status: u16,
    pub(super) body: Length,
}

/// What a prefix of a head is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    /// A whole head.
    Head(T),
    /// The beginning of one.
    Partial,
    /// Not HTTP/1.x.
    Invalid,
}

/// Parses a request head; `with_host` is whether anybody wants to know whom it asks.
pub(super) fn request(bytes: &[u8], with_host: bool) -> Parsed<RequestHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            let (Some(method), Some(target)) = (request.method, request.path) else { return Parsed::Invalid };
            Parsed::Head(RequestHead {
                len,
                method: method.chars().take(32).collect(),
                path: path_of(target),
                // RFC 9112, 6.3: a request without either header has no body.
                body: length(request.headers).unwrap_or(Length::Known(0)),
                host: if with_host { Host::find(target, request.headers) } else { None },
            })
        }
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Invalid,
    }
}

/// The bytes are a request's beginning, as far as one can tell: where framing is lost, the next one is picked up here.
pub(super) fn begins_request(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 7] =
        [b"GET /", b"POST /", b"PUT /", b"HEAD /", b"DELETE /", b"PATCH /", b"OPTIONS "];
    request_line(bytes).is_some()
        || METHODS.iter().any(|method| bytes.starts_with(method))
            && matches!(request(bytes, false), Parsed::Partial)
}

/// Method and path of a head whose end was not captured.
pub(super) fn request_line(bytes: &[u8]) -> Option<(String, String)> {
    let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_method =
        !method.is_empty() && method.len() <= 32 && method.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_method && version.starts_with("HTTP/1.")).then(|| (method.to_owned(), path_of(target)))
}

/// Parses a response head. `to_head` is whether it answers a HEAD request.
pub(super) fn response(bytes: &[u8], to_head: bool) -> Parsed<ResponseHead> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            let Some(status) = response.code else { return Parsed::Invalid };
            // RFC 9112, 6.3: these never have a body, whatever their headers say.
            let bodyless = to_head || status < 200 || status == 204 || status == 304;
            let body = if bodyless {
                Length::Known(0)
            } else {
                length(response.headers).unwrap_or(Length::UntilClose)
            };
            Parsed::Head(ResponseHead { len, status, body })
        }
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Invalid,
    }
}

/// The body's length as the headers say it; chunked wins over a length (RFC 9112, 6.3).
fn length(headers: &[httparse::Header<'_>]) -> Option<Length> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let chunked = header.value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            if chunked.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Some(Length::Chunked);
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default();
            length = text.trim().parse().ok().map(Length::Known).or(length);
        }
    }
    length
}

/// The path of a request target, without query and fragment, printable, at most [`MAX_PATH`] bytes.
fn path_of(target: &str) -> String {
    // absolute-form (RFC 9112, 3.2.2): the authority is not the path.
    let target = target
        .strip_prefix("http://")
        .or_else(|| target.strip_prefix("https://"))
        .map_or(target, |rest| rest.find('/').map_or("/", |slash| &rest[slash..]));
    let path = target.split(['?', '#']).next().unwrap_or_default();
    path.bytes()
        .take(MAX_PATH)
        .map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> RequestHead {
        match request(bytes, false) {
            Parsed::Head(head) => head,
            other => panic!("{other:?}"),
        }
    }

    /// Method, path without query, and framing.
    #[test]
    fn reads_requests() {
        let found = head(b"PUT /stages/7?doc=secret HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello");
        assert_eq!((found.method.as_str(), found.path.as_str()), ("PUT", "/stages/7"));
        assert_eq!(found.body, Length::Known(12));
        assert_eq!(head(b"GET / HTTP/1.1\r\n\r\n").body, Length::Known(0));
        let chunked = b"POST /u HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        assert_eq!(head(chunked).body, Length::Chunked);
        assert_eq!(head(b"GET http://host:80/a/b?q#f HTTP/1.1\r\n\r\n").path, "/a/b");
    }

    /// Beginnings ask for more; anything else is refused.
    #[test]
    fn partial_and_invalid() {
        for (bytes, expected) in [
            (&b"GET /sta"[..], Parsed::Partial),
            (b"", Parsed::Partial),
            (b"\x16\x03\x01\x02\x00", Parsed::Invalid),
            (b"PRI * HTTP/2.0\r\n\r\n", Parsed::Invalid),
        ] {
            assert_eq!(request(bytes, false), expected);
        }
        assert!(begins_request(b"GET /hello HTTP/1.1\r\nho") && begins_request(b"POST /up"));
        assert!(!begins_request(b"GET something") && !begins_request(b"\x81\x85GET /"));
    }

    /// A body that cannot be there is not waited for.
    #[test]
    fn reads_responses() {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(
            response(ok, false),
            Parsed::Head(ResponseHead { len: 38, status: 200, body: Length::Known(5) })
        );
        assert_eq!(
            response(ok, true),
            Parsed::Head(ResponseHead { len: 38, status: 200, body: Length::Known(0) })
        );
        let none = b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n";
        assert!(matches!(response(none, false), Parsed::Head(ResponseHead { body: Length::Known(0), .. })));
        let open = b"HTTP/1.0 200 OK\r\n\r\n";
        assert!(matches!(response(open, false), Parsed::Head(ResponseHead { body: Length::UntilClose, .. })));
        // A server that leaves out the reason phrase.
        let terse = b"HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\n";
        assert!(matches!(response(terse, false), Parsed::Head(ResponseHead { status: 200, .. })));
    }

    /// The line of a head that is too long to capture still names the endpoint.
    #[test]
    fn reads_the_line_alone() {
        let line = b"GET /a?x=1 HTTP/1.1\r\nCookie: aaaaaaaa";
        assert_eq!(request_line(line), Some(("GET".to_owned(), "/a".to_owned())));
        assert_eq!(request_line(b"\x00\x01"), None);
        assert_eq!(request_line(b"get / HTTP/1.1\r\n"), None);
    }
}
