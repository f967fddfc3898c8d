//! One connection: requests in, responses out, matched in order (RFC 9112, 9.3.2).

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{
    decoder::Why,
    framing::{Body, Progress, Span},
    head::{self, Parsed},
};
use crate::{
    event::{Ending, Event, Request, Response},
    probes::bytes::Bytes,
};

/// Requests of one connection that wait for their response; more is not HTTP as anybody uses it.
const MAX_PIPELINE: usize = 256;

/// Bytes of an unfinished head that are kept.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// A small write is copied to the kernel in microseconds, while its return can be delayed by whoever it
/// wakes (measured on loopback, where the receiver runs inside the call). So the entry of the call is the
/// better time of its last byte, up to this size (one segmentation-offload packet).
const SMALL_WRITE: u64 = 64 * 1024;

/// A request without its whole response yet.
#[derive(Debug)]
struct Pending {
    request: Request,
    /// The request event has been handed on.
    told: bool,
    status: u16,
    first_send_ns: Option<u64>,
    last_send_ns: u64,
    bytes_out: u64,
}

/// Where the inbound stream stands.
#[derive(Debug)]
enum Inbound {
    /// Between requests, with the beginning of a head.
    Head(BytesMut),
    /// In the body of the newest pending request.
    Body(Body),
    /// Framing is unknown: the next read that begins with a request line is the next request.
    Resync,
}

/// Where the outbound stream stands.
#[derive(Debug)]
enum Outbound {
    /// Before or inside a response head.
    Head(BytesMut),
    /// In the body of the oldest pending request's response.
    Body(Body),
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Conn {
    inbound: Inbound,
    outbound: Outbound,
    pending: VecDeque<Pending>,
    /// Bytes of a connection that is older than the attach, until a request of it was seen; none from then on.
    unknown_bytes: Option<u64>,
}

/// What a span of bytes led to.
pub(super) type Outcome = Result<(), Why>;

/// A call's bytes as a stream: seen, not captured, seen.
fn spans<'a>(call: &Bytes<'a>) -> [Span<'a>; 3] {
    let seen = (call.head.len() + call.tail.len()) as u64;
    [Span::Seen(call.head), Span::Gap(call.bytes.saturating_sub(seen)), Span::Seen(call.tail)]
}

impl Conn {
    /// A connection whose first byte we see, or one that is older and of unknown state.
    pub(super) fn new(from_its_start: bool) -> Self {
        Self {
            inbound: if from_its_start { Inbound::Head(BytesMut::new()) } else { Inbound::Resync },
            outbound: Outbound::Head(BytesMut::new()),
            pending: VecDeque::new(),
            unknown_bytes: (!from_its_start).then_some(0),
        }
    }

    /// Bytes that meant nothing, where no request was ever seen: an older connection that carries something else, or
    /// the rest of what was in flight at the attach.
    pub(super) fn unknown_bytes(&self) -> Option<u64> {
        self.unknown_bytes.filter(|bytes| *bytes > 0)
    }

    /// Bytes of unfinished heads that this connection holds.
    pub(super) fn held_bytes(&self) -> usize {
        let inbound = if let Inbound::Head(bytes) = &self.inbound { bytes.len() } else { 0 };
        let outbound = if let Outbound::Head(bytes) = &self.outbound { bytes.len() } else { 0 };
        inbound + outbound
    }

    /// The application read bytes.
    pub(super) fn read(&mut self, read: &Bytes<'_>, out: &mut Vec<Event>) -> Outcome {
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
                    let progress = body.take(span);
                    let taken = match progress {
                        Progress::More => span.len(),
                        Progress::Ended(taken) => taken,
                        Progress::Broken => return Err(Why::Garbled),
                    };
                    if let Some(newest) = self.pending.back_mut() {
                        newest.request.bytes += taken;
                        newest.request.last_read_ns = read.exit_ns;
                    }
                    if progress == Progress::More {
                        return Ok(());
                    }
                    self.request_read(out);
                    span = span.after(taken);
                }
                Inbound::Resync => {
                    let Span::Seen(bytes) = span else { return Ok(()) };
                    if !first || head::request_line(bytes).is_none() {
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
        self.pending.push_back(Pending {
            request: Request {
                conn: read.conn,
                pid: read.pid,
                port: read.port,
                method: String::new(),
                path: String::new(),
                arrival_ns: read.arrival_ns,
                first_read_ns: read.exit_ns,
                last_read_ns: read.exit_ns,
                bytes: 0,
                complete: false,
                acked_ns: read.acked_ns,
            },
            told: false,
            status: 0,
            first_send_ns: None,
            last_send_ns: read.exit_ns,
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
        let parsed = if before == 0 {
            head::request(bytes)
        } else {
            held.extend_from_slice(bytes);
            head::request(held)
        };
        let Some(newest) = self.pending.back_mut() else { return Err(Why::Garbled) };
        newest.request.last_read_ns = read.exit_ns;
        match parsed {
            Parsed::Head(head) => {
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
        newest.request.bytes += rest.len();
        newest.request.last_read_ns = read.exit_ns;
        self.request_read(out);
        self.inbound = Inbound::Resync;
        Ok(())
    }

    /// The newest request has been read whole.
    fn request_read(&mut self, out: &mut Vec<Event>) {
        self.inbound = Inbound::Head(BytesMut::new());
        if let Some(newest) = self.pending.back_mut()
            && !newest.told
        {
            newest.told = true;
            newest.request.complete = true;
            out.push(Event::Request(newest.request.clone()));
        }
    }

    /// The application wrote bytes. True when the connection leaves HTTP with them (status 101).
    pub(super) fn write(&mut self, write: &Bytes<'_>, out: &mut Vec<Event>) -> Result<bool, Why> {
        let sent_ns = match write.enter_ns {
            Some(enter_ns) if write.nonblocking && write.bytes <= SMALL_WRITE => enter_ns,
            _ => write.exit_ns,
        };
        if let Some(unknown) = &mut self.unknown_bytes {
            *unknown += write.bytes;
        }
        for mut span in spans(write) {
            while span.len() > 0 {
                // An answer to a request from before the attach, or to none.
                let Some(oldest) = self.pending.front_mut() else { return Ok(false) };
                match &mut self.outbound {
                    Outbound::Body(body) => {
                        let progress = body.take(span);
                        let taken = match progress {
                            Progress::More => span.len(),
                            Progress::Ended(taken) => taken,
                            Progress::Broken => return Err(Why::Garbled),
                        };
                        oldest.bytes_out += taken;
                        oldest.last_send_ns = sent_ns;
                        if progress == Progress::More {
                            break;
                        }
                        self.response_sent(out);
                        span = span.after(taken);
                    }
                    Outbound::Head(held) => {
                        let Span::Seen(bytes) = span else { return Err(Why::Garbled) };
                        let before = held.len();
                        if before > 0 {
                            held.extend_from_slice(bytes);
                        }
                        // Nearly always the whole head lies in one write: parse it where it is.
                        let head_bytes = if before > 0 { &held[..] } else { bytes };
                        match head::response(head_bytes, oldest.request.method == "HEAD") {
                            Parsed::Invalid => return Err(Why::of(head_bytes)),
                            Parsed::Partial if head_bytes.len() > MAX_HEAD => return Err(Why::Garbled),
                            Parsed::Partial => {
                                if before == 0 {
                                    held.extend_from_slice(bytes);
                                }
                                oldest.first_send_ns.get_or_insert(write.enter_ns.unwrap_or(write.exit_ns));
                                oldest.last_send_ns = sent_ns;
                                break;
                            }
                            Parsed::Head(head) => {
                                span = span.after((head.len - before.min(head.len)) as u64);
                                held.clear();
                                if head.status < 200 && head.status != 101 {
                                    // Interim (RFC 9110, 15.2): not the response.
                                    oldest.first_send_ns = None;
                                    continue;
                                }
                                oldest.first_send_ns.get_or_insert(write.enter_ns.unwrap_or(write.exit_ns));
                                oldest.last_send_ns = sent_ns;
                                oldest.status = head.status;
                                oldest.bytes_out += head.len as u64;
                                let body = Body::new(head.body);
                                if head.status == 101 {
                                    self.response_sent(out);
                                    return Ok(true);
                                }
                                if body.is_empty() {
                                    self.response_sent(out);
                                } else {
                                    self.outbound = Outbound::Body(body);
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(false)
    }

    /// The oldest request has its whole response.
    fn response_sent(&mut self, out: &mut Vec<Event>) {
        self.outbound = Outbound::Head(BytesMut::new());
        self.settle(Ending::Complete, None, out);
    }

    /// The connection ended.
    pub(super) fn closed(mut self, ts_ns: u64, out: &mut Vec<Event>) {
        if matches!(self.outbound, Outbound::Body(Body::UntilClose)) {
            self.settle(Ending::Complete, None, out);
        }
        self.end_all(Ending::Aborted, ts_ns, out);
    }

    /// Nothing more will be seen of this connection.
    pub(super) fn end_all(&mut self, ending: Ending, ts_ns: u64, out: &mut Vec<Event>) {
        while !self.pending.is_empty() {
            self.settle(ending, Some(ts_ns), out);
        }
    }

    /// Hands on the oldest request, if that has not happened, and its response as it is.
    fn settle(&mut self, ending: Ending, end_ns: Option<u64>, out: &mut Vec<Event>) {
        let Some(oldest) = self.pending.pop_front() else { return };
        if oldest.request.method.is_empty() {
            // Not even a whole head came: nobody asked for anything yet.
            return;
        }
        let conn = oldest.request.conn;
        if !oldest.told {
            out.push(Event::Request(oldest.request));
            if self.pending.is_empty() && matches!(self.inbound, Inbound::Body(_)) {
                // The rest of this request's body answers to nothing any more.
                self.inbound = Inbound::Resync;
            }
        }
        out.push(Event::Response(Response {
            conn,
            status: oldest.status,
            first_send_ns: oldest.first_send_ns,
            last_send_ns: end_ns.unwrap_or(oldest.last_send_ns),
            bytes: oldest.bytes_out,
            ending,
        }));
    }
}
