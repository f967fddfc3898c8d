//! Where an HTTP/1.1 response ends. For the clients of the tests only: it counts bytes and keeps no bodies.

use anyhow::{Context as _, Result, bail};

/// What a response turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The final status.
    pub status: u16,
    /// Head, body and framing, interim responses included.
    pub bytes: u64,
    /// Body without its framing.
    pub body_bytes: u64,
    /// The server will close the connection, or has.
    pub close: bool,
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    Length(u64),
    ChunkSize(Vec<u8>),
    ChunkData(u64),
    Trailer(Vec<u8>),
    UntilClose,
    Done,
}

/// Reads one response, from pieces as they come.
#[derive(Debug)]
pub struct Parser {
    state: State,
    to_head: bool,
    reply: Reply,
}

impl Parser {
    /// For the response to a request; to HEAD there is never a body.
    #[must_use]
    pub fn new(to_head: bool) -> Self {
        Self {
            state: State::Head(Vec::new()),
            to_head,
            reply: Reply { status: 0, bytes: 0, body_bytes: 0, close: false },
        }
    }

    /// Takes a piece and says whether the response is over. Bytes behind its end are an error: the
    /// clients here never send a request before the response to the one before it.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<Option<Reply>> {
        self.reply.bytes += piece.len() as u64;
        while !piece.is_empty() && !matches!(self.state, State::Done) {
            piece = self.step(piece)?;
        }
        if !piece.is_empty() {
            bail!("{} bytes came behind the end of a response", piece.len());
        }
        Ok(self.is_done().then_some(self.reply))
    }

    /// The server closed its side.
    pub fn end(&mut self) -> Result<Reply> {
        if !matches!(self.state, State::UntilClose | State::Done) {
            bail!("the connection ended {} bytes into a response", self.reply.bytes);
        }
        self.reply.close = true;
        Ok(self.reply)
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn step<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8]> {
        match &mut self.state {
            State::Head(head) => {
                let before = head.len();
                head.extend_from_slice(piece);
                let from = before.saturating_sub(3);
                let Some(at) = head[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
                    return Ok(&[]);
                };
                let end = from + at + 4;
                head.truncate(end);
                let head = std::mem::take(head);
                self.head(&head)?;
                Ok(&piece[end - before..])
            }
            State::Length(left) => {
                let rest = take(left, piece, &mut self.reply.body_bytes);
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(rest)
            }
            State::ChunkSize(line) => {
                let Some(rest) = take_line(line, piece) else { return Ok(&[]) };
                let text = std::str::from_utf8(line).context("failed to read a chunk's size")?;
                let digits = text.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16)
                    .with_context(|| format!("failed to read a chunk's size from `{digits}`"))?;
                self.state = if size == 0 { State::Trailer(Vec::new()) } else { State::ChunkData(size + 2) };
                Ok(rest)
            }
            State::ChunkData(left) => {
                // The two bytes of the chunk's line end are framing.
                let due = *left;
                let rest = take(left, piece, &mut 0);
                let taken = due - *left;
                self.reply.body_bytes += taken.min(due.saturating_sub(2));
                if *left == 0 {
                    self.state = State::ChunkSize(Vec::new());
                }
                Ok(rest)
            }
            State::Trailer(line) => {
                let Some(rest) = take_line(line, piece) else { return Ok(&[]) };
                self.state = if line.is_empty() { State::Done } else { State::Trailer(Vec::new()) };
                Ok(rest)
            }
            State::UntilClose => {
                self.reply.body_bytes += piece.len() as u64;
                Ok(&[])
            }
            State::Done => Ok(piece),
        }
    }

    fn head(&mut self, head: &[u8]) -> Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(head).context("failed to parse a response head")?;
        let status = response.code.context("a response without a status")?;
        if (100..200).contains(&status) && status != 101 {
            self.state = State::Head(Vec::new());
            return Ok(());
        }
        self.reply.status = status;
        let value = |name: &str| {
            response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))
                .map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        self.reply.close = value("connection").is_some_and(|value| value.contains("close"));
        self.state = if self.to_head || matches!(status, 101 | 204 | 304) {
            State::Done
        } else if value("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            State::ChunkSize(Vec::new())
        } else if let Some(length) = value("content-length") {
            match length.parse().with_context(|| format!("failed to read a length from `{length}`"))? {
                0 => State::Done,
                length => State::Length(length),
            }
        } else {
            State::UntilClose
        };
        Ok(())
    }
}

fn take<'a>(left: &mut u64, piece: &'a [u8], counted: &mut u64) -> &'a [u8] {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
    *left -= taken as u64;
    *counted += taken as u64;
    &piece[taken..]
}

/// Moves a line without its end into `line`; none while the end has not come.
fn take_line<'a>(line: &mut Vec<u8>, piece: &'a [u8]) -> Option<&'a [u8]> {
    let Some(at) = piece.iter().position(|&byte| byte == b'\n') else {
        line.extend_from_slice(piece);
        return None;
    };
    line.extend_from_slice(&piece[..at]);
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(&piece[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::{Parser, Reply};

    const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nt: v\r\n\r\n";

    fn whole(bytes: &[u8], piece: usize, to_head: bool) -> Option<Reply> {
        let mut parser = Parser::new(to_head);
        let mut reply = None;
        for part in bytes.chunks(piece) {
            assert!(reply.is_none(), "over before its last byte");
            reply = parser.feed(part).unwrap();
        }
        reply
    }

    /// However a response is cut into pieces, it ends at its last byte and its counts are the same.
    #[test]
    fn ends_exactly() {
        for piece in 1..=CHUNKED.len() {
            let reply = whole(LENGTH, piece, false).unwrap();
            assert_eq!((reply.status, reply.bytes, reply.body_bytes), (200, LENGTH.len() as u64, 5));
            let reply = whole(CHUNKED, piece, false).unwrap();
            assert_eq!((reply.status, reply.bytes, reply.body_bytes), (201, CHUNKED.len() as u64, 8));
        }
    }

    /// A response to HEAD and a 204 end with their heads, one without a length ends with the connection.
    #[test]
    fn bodies_that_are_not_there() {
        let head = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 31\r\n\r\n";
        assert_eq!(whole(head, 7, true).unwrap().bytes, head.len() as u64);
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n", 4, false).unwrap().status, 204);
        let mut parser = Parser::new(false);
        assert_eq!(parser.feed(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc").unwrap(), None);
        let reply = parser.end().unwrap();
        assert!(reply.close);
        assert_eq!(reply.body_bytes, 3);
    }

    /// A truncated response and bytes behind an end are errors, never a reply.
    #[test]
    fn broken_responses_are_errors() {
        let mut parser = Parser::new(false);
        assert_eq!(parser.feed(&LENGTH[..LENGTH.len() - 1]).unwrap(), None);
        assert!(parser.end().is_err());
        let mut parser = Parser::new(false);
        assert!(parser.feed(&[LENGTH, b"H"].concat()).is_err());
    }
}
