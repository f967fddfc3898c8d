//! Where a body ends: counts a known length, walks chunks, and survives bytes that were not captured.

use super::head::Length;

/// Bytes of a stream: seen, or only counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span<'a> {
    /// Captured.
    Seen(&'a [u8]),
    /// So many that were not captured.
    Gap(u64),
}

impl Span<'_> {
    pub(super) fn len(self) -> u64 {
        match self {
            Self::Seen(bytes) => bytes.len() as u64,
            Self::Gap(len) => len,
        }
    }

    /// Without its first bytes; `n` is at most its length.
    pub(super) fn after(self, n: u64) -> Self {
        match self {
            Self::Seen(bytes) => {
                Self::Seen(bytes.get(usize::try_from(n).unwrap_or(usize::MAX)..).unwrap_or_default())
            }
            Self::Gap(len) => Self::Gap(len - n.min(len)),
        }
    }
}

/// The rest of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Left(u64),
    /// Inside a chunked body.
    Chunks(Chunk),
    /// Ends with the connection.
    UntilClose,
    /// A chunk's size line was not captured: the end is taken from the last chunk's shape alone.
    Lost,
}

/// Position inside a chunked body (RFC 9112, 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In a size line; the size so far, and whether its digits are over (extensions follow).
    Size { size: u64, digits_done: bool },
    /// In data, with so many bytes of data and line end to come.
    Data { left: u64 },
    /// Behind the last chunk, at the start of a trailer line or inside one.
    Trailer { line_is_empty: bool },
}

/// What a span did to a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is all body, and more is to come.
    More,
    /// The body ended after so many bytes of the span.
    Ended(u64),
    /// Not a body, as is plain behind so many bytes of the span.
    Broken(u64),
}

/// No chunk is larger than this: a size line that says more is a lie or not a size line.
const MAX_CHUNK: u64 = 1 << 40;

impl Body {
    pub(super) const fn new(length: Length) -> Self {
        match length {
            Length::Known(left) => Self::Left(left),
            Length::Chunked => Self::Chunks(Chunk::Size { size: 0, digits_done: false }),
            Length::UntilClose => Self::UntilClose,
        }
    }

    /// There is nothing to wait for.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::Left(0))
    }

    /// Takes a span of the stream.
    pub(super) fn take(&mut self, span: Span<'_>) -> Progress {
        match self {
            Self::Left(left) => {
                let taken = span.len().min(*left);
                *left -= taken;
                if *left == 0 { Progress::Ended(taken) } else { Progress::More }
            }
            Self::UntilClose => Progress::More,
            Self::Lost => ends_like_chunks(span),
            Self::Chunks(chunk) => match span {
                Span::Seen(bytes) => chunk.walk(bytes),
                Span::Gap(len) => match chunk {
                    Chunk::Data { left } if *left > len => {
                        *left -= len;
                        Progress::More
                    }
                    _ if len == 0 => Progress::More,
                    _ => {
                        *self = Self::Lost;
                        Progress::More
                    }
                },
            },
        }
    }
}

/// Without the size lines, a write that ends in the last chunk is taken for the body's end.
fn ends_like_chunks(span: Span<'_>) -> Progress {
    match span {
        Span::Seen(bytes) if bytes == b"0\r\n\r\n" || bytes.ends_with(b"\r\n0\r\n\r\n") => {
            Progress::Ended(bytes.len() as u64)
        }
        _ => Progress::More,
    }
}

impl Chunk {
    fn walk(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self {
                Self::Data { left } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        *self = Self::Size { size: 0, digits_done: false };
                    }
                    continue;
                }
                Self::Size { size, digits_done } => match byte {
                    b'\n' => {
                        *self = if *size == 0 {
                            Self::Trailer { line_is_empty: true }
                        } else {
                            Self::Data { left: *size + 2 }
                        };
                    }
                    _ if *digits_done => {}
                    b'\r' | b';' | b' ' | b'\t' => *digits_done = true,
                    _ => match char::from(byte).to_digit(16) {
                        Some(digit) if *size <= MAX_CHUNK => *size = *size * 16 + u64::from(digit),
                        _ => return Progress::Broken(at as u64),
                    },
                },
                Self::Trailer { line_is_empty } => match byte {
                    b'\n' if *line_is_empty => return Progress::Ended(at as u64 + 1),
                    b'\n' => *line_is_empty = true,
                    b'\r' => {}
                    _ => *line_is_empty = false,
                },
            }
            at += 1;
        }
        Progress::More
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            stream.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
            stream.extend(chunk);
            stream.extend(b"\r\n");
        }
        stream.extend(b"0\r\nTrailer: x\r\n\r\n");
        stream
    }

    proptest! {
        /// A chunked body ends at its last byte, wherever the reads were cut and whatever it contains.
        #[test]
        fn chunks_end_where_they_end(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cut in 1usize..50,
            behind in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let body_len = chunked(&chunks).len() as u64;
            let mut stream = chunked(&chunks);
            stream.extend(&behind);
            let mut body = Body::new(Length::Chunked);
            let mut before = 0;
            let mut end = None;
            for piece in stream.chunks(cut) {
                match body.take(Span::Seen(piece)) {
                    Progress::More => before += piece.len() as u64,
                    Progress::Ended(n) => { end = Some(before + n); break; }
                    Progress::Broken(_) => prop_assert!(false, "broken"),
                }
            }
            prop_assert_eq!(end, Some(body_len));
        }

        /// What is no body is found behind the same byte, wherever the reads were cut.
        #[test]
        fn broken_where_it_breaks(text in "[0-9a-f.;\\r\\n ]{0,40}", cut in 1usize..10) {
            let end = |cut: usize| {
                let mut body = Body::new(Length::Chunked);
                let mut before = 0;
                for piece in text.as_bytes().chunks(cut) {
                    match body.take(Span::Seen(piece)) {
                        Progress::More => before += piece.len() as u64,
                        Progress::Ended(n) => return (before + n, "ended"),
                        Progress::Broken(n) => return (before + n, "broken"),
                    }
                }
                (before, "more")
            };
            prop_assert_eq!(end(cut), end(text.len().max(1)));
        }

        /// Any bytes and gaps at all: no panic, and never more consumed than given.
        #[test]
        fn survives_anything(spans in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..64), any::<u64>()), 0..20)) {
            for length in [Length::Chunked, Length::Known(100), Length::UntilClose] {
                let mut body = Body::new(length);
                for (seen, bytes, gap) in &spans {
                    let span = if *seen { Span::Seen(bytes) } else { Span::Gap(*gap) };
                    match body.take(span) {
                        Progress::More => {}
                        Progress::Ended(n) => { prop_assert!(n <= span.len()); break; }
                        Progress::Broken(n) => { prop_assert!(n < span.len()); break; }
                    }
                }
            }
        }
    }

    /// A known length ends exactly, and what is behind it is not taken.
    #[test]
    fn known_length() {
        let mut body = Body::new(Length::Known(10));
        assert_eq!(body.take(Span::Gap(4)), Progress::More);
        assert_eq!(body.take(Span::Seen(b"12345678")), Progress::Ended(6));
    }

    /// A large chunk whose middle was not captured does not lose the count.
    #[test]
    fn gaps_inside_a_chunk() {
        let mut body = Body::new(Length::Chunked);
        assert_eq!(body.take(Span::Seen(b"1000\r\nabcd")), Progress::More);
        assert_eq!(body.take(Span::Gap(0x1000 - 8)), Progress::More);
        assert_eq!(body.take(Span::Seen(b"wxyz\r\n0\r\n\r\n")), Progress::Ended(11));
    }

    /// A size line in a gap: the end is recognised by its shape.
    #[test]
    fn lost_and_found() {
        let mut body = Body::new(Length::Chunked);
        assert_eq!(body.take(Span::Gap(1000)), Progress::More);
        assert_eq!(body, Body::Lost);
        assert_eq!(body.take(Span::Seen(b"data\r\n")), Progress::More);
        assert_eq!(body.take(Span::Seen(b"0\r\n\r\n")), Progress::Ended(5));
    }
}
