//! The half of a connection that leads to the server: request heads and bodies, out of the server's reads or the
//! client's writes.

use bytes::BytesMut;

use super::{
    conn::{Conn, Inbound, MAX_HEAD, MAX_PIPELINE, Outcome, Pending, moved_ns, spans},
    decoder::Why,
    framing::{Body, Progress, Span},
    head::{self, Parsed},
    host,
};
use crate::{
    event::{Event, Request},
    probes::bytes::{Bytes, Role},
};

/// The last chunk of a chunked body without trailers, with the end of what is before it.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Whether a body whose chunks were out of sight may end with this span.
fn ends_in_last_chunk(span: Span<'_>) -> bool {
    matches!(span, Span::Seen(bytes) if bytes == &LAST_CHUNK[2..] || bytes.ends_with(LAST_CHUNK))
}

/// Where such a body ends: a last chunk alone can be a part of it, so there must be a request behind it, or its answer.
fn behind_lost(span: Span<'_>, may_end: bool) -> Progress {
    let Span::Seen(bytes) = span else { return Progress::More };
    if may_end && head::begins_request(bytes) {
        return Progress::Ended(0);
    }
    let ends = bytes.windows(LAST_CHUNK.len()).enumerate().filter(|(_, window)| *window == LAST_CHUNK);
    ends.map(|(at, _)| at + LAST_CHUNK.len())
        .find(|&end| bytes.get(end..).is_some_and(|rest| !rest.is_empty() && head::begins_request(rest)))
        .map_or(Progress::More, |end| Progress::Ended(end as u64))
}

impl Conn {
    /// Bytes of requests were read by the server, or written by the client.
    pub(super) fn request_bytes(&mut self, read: &Bytes<'_>, out: &mut Vec<Event>) -> Outcome {
        if let Some(unknown) = &mut self.unknown_bytes {
            *unknown += read.bytes;
        }
        let mut first = true;
        for span in spans(read) {
            self.read_span(read, span, first, out)?;
            first = false;
        }
        Ok(())
    }

    fn read_span<'a>(
        &mut self,
        read: &Bytes<'a>,
        mut span: Span<'a>,
        mut first: bool,
        out: &mut Vec<Event>,
    ) -> Outcome {
        while span.len() > 0 {
            match &mut self.inbound {
                Inbound::Body(body) => {
                    let progress = if *body == Body::Lost {
                        let may_end = std::mem::replace(&mut self.may_end, ends_in_last_chunk(span));
                        behind_lost(span, may_end)
                    } else {
                        body.take(span)
                    };
                    let taken = match progress {
                        Progress::More => span.len(),
                        Progress::Ended(taken) | Progress::Broken(taken) => taken,
                    };
                    if let Some(newest) = self.pending.back_mut().filter(|_| taken > 0) {
                        newest.request.bytes += taken;
                        newest.request.last_read_ns = moved_ns(read).1;
                    }
                    if let Progress::Broken(_) = progress {
                        return Err(Why::Garbled);
                    }
                    if progress == Progress::More {
                        return Ok(());
                    }
                    self.request_read(out);
                    span = span.after(taken);
                }
                Inbound::Resync => {
                    let Span::Seen(bytes) = span else { return Ok(()) };
                    if !first || !head::begins_request(bytes) {
                        return Ok(());
                    }
                    self.inbound = Inbound::Head(BytesMut::new());
                }
                Inbound::Head(held) => {
                    let Span::Seen(bytes) = span else { return self.head_too_long(read, span, out) };
                    if held.is_empty() {
                        let skipped = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                        if skipped > 0 {
                            span = span.after(skipped as u64);
                            continue;
                        }
                        self.settle_lost(out);
                        self.begin(read)?;
                    }
                    span = self.head_bytes(read, bytes, out)?;
                }
            }
            first = false;
        }
        Ok(())
    }

    /// A request begins with this read.
    fn begin(&mut self, read: &Bytes<'_>) -> Outcome {
        self.unknown_bytes = None;
        if self.pending.len() >= MAX_PIPELINE {
            return Err(Why::Garbled);
        }
        let (first_ns, last_ns) = moved_ns(read);
        let (arrival_ns, outgoing) = match read.role {
            Role::Server => (read.arrival_ns, None),
            // Named by its head; until then by where the connection leads.
            Role::Client => (Some(first_ns), Some(self.place.clone().unwrap_or_default())),
        };
        self.pending.push_back(Pending {
            request: Request {
                conn: read.conn,
                pid: read.pid,
                tid: read.tid,
                port: read.port,
                method: String::new(),
                path: String::new(),
                outgoing,
                arrival_ns,
                first_read_ns: first_ns,
                last_read_ns: last_ns,
                bytes: 0,
                complete: false,
                acked_ns: read.acked_ns,
            },
            told: false,
            status: 0,
            first_send_ns: None,
            last_send_ns: last_ns,
            bytes_out: 0,
        });
        Ok(())
    }

    /// More bytes of a request head; what is left of them behind it.
    fn head_bytes<'a>(
        &mut self,
        read: &Bytes<'a>,
        bytes: &'a [u8],
        out: &mut Vec<Event>,
    ) -> Result<Span<'a>, Why> {
        let Inbound::Head(held) = &mut self.inbound else { return Ok(Span::Gap(0)) };
        let before = held.len();
        // Nearly always the whole head lies in one read: parse it where it is.
        let with_host = read.role == Role::Client;
        let parsed = if before == 0 {
            head::request(bytes, with_host)
        } else {
            held.extend_from_slice(bytes);
            head::request(held, with_host)
        };
        let Some(newest) = self.pending.back_mut() else { return Err(Why::Garbled) };
        newest.request.last_read_ns = moved_ns(read).1;
        match parsed {
            Parsed::Head(head) => {
                if let (Some(outgoing), Some(host)) = (&mut newest.request.outgoing, head.host) {
                    *outgoing = host::of(host, outgoing);
                }
                newest.request.bytes = head.len as u64;
                newest.request.method = head.method;
                newest.request.path = head.path;
                let body = Body::new(head.body);
                let done = body.is_empty();
                self.inbound = Inbound::Body(body);
                if done {
                    self.request_read(out);
                }
                Ok(Span::Seen(bytes.get(head.len.saturating_sub(before)..).unwrap_or_default()))
            }
            Parsed::Partial => {
                if before == 0 {
                    held.extend_from_slice(bytes);
                }
                newest.request.bytes = held.len() as u64;
                if held.len() > MAX_HEAD { Err(Why::Garbled) } else { Ok(Span::Gap(0)) }
            }
            Parsed::Invalid => {
                let why = Why::of(if before == 0 { bytes } else { held });
                self.pending.pop_back();
                Err(why)
            }
        }
    }

    /// The rest of a head was not captured: its line names the endpoint, its body's length stays unknown.
    fn head_too_long(&mut self, read: &Bytes<'_>, rest: Span<'_>, out: &mut Vec<Event>) -> Outcome {
        let Inbound::Head(held) = &self.inbound else { return Ok(()) };
        let (Some((method, path)), Some(newest)) = (head::request_line(held), self.pending.back_mut()) else {
            return Err(Why::Garbled);
        };
        newest.request.method = method;
        newest.request.path = path;
        // With what is seen of the call behind the gap: from here on nothing is framed until the next request.
        newest.request.bytes += rest.len() + read.tail.len() as u64;
        newest.request.last_read_ns = moved_ns(read).1;
        self.request_read(out);
        self.inbound = Inbound::Resync;
        Ok(())
    }
}
