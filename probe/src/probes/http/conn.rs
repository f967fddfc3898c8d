//! One connection: requests on their way to the server ([`super::inbound`]), responses from it
//! ([`super::outbound`]), matched in order (RFC 9112, 9.3.2). Which of the two the tree reads and which it writes is
//! its role; the streams are the same.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{
    decoder::Why,
    framing::{Body, Span},
};
use crate::{
    event::{Closed, Ending, Event, Request, Response},
    probes::bytes::{Bytes, Direction, Role},
};

/// Requests of one connection that wait for their response; more is not HTTP as anybody uses it.
pub(super) const MAX_PIPELINE: usize = 256;

/// Bytes of an unfinished head that are kept.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// A request without its whole response yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) request: Request,
    /// The request event has been handed on.
    pub(super) told: bool,
    pub(super) status: u16,
    pub(super) first_send_ns: Option<u64>,
    pub(super) last_send_ns: u64,
    pub(super) bytes_out: u64,
}

/// Where the stream of requests stands.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Between requests, with the beginning of a head.
    Head(BytesMut),
    /// In the body of the newest pending request.
    Body(Body),
    /// Framing is unknown: the next read that begins with a request line is the next request.
    Resync,
}

/// Where the stream of responses stands.
#[derive(Debug)]
pub(super) enum Outbound {
    /// Before or inside a response head.
    Head(BytesMut),
    /// In the body of the oldest pending request's response.
    Body(Body),
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// Of a Unix-domain listener's connection its path; of one that the tree made `host:port` or `unix:/path`.
    pub(super) place: Option<String>,
    pub(super) inbound: Inbound,
    /// The last bytes of a request body with lost chunks may have been its end.
    pub(super) may_end: bool,
    pub(super) outbound: Outbound,
    pub(super) pending: VecDeque<Pending>,
    /// Bytes of a connection that is older than the attach, until a request of it was seen; none from then on.
    pub(super) unknown_bytes: Option<u64>,
}

/// What a span of bytes led to.
pub(super) type Outcome = Result<(), Why>;

/// When the first and the last byte of a call count as read or sent.
pub(super) fn moved_ns(call: &Bytes<'_>) -> (u64, u64) {
    match (call.direction, call.enter_ns) {
        (Direction::Out, Some(enter_ns)) => (enter_ns, call.sent_ns()),
        (Direction::In, _) | (Direction::Out, None) => (call.exit_ns, call.exit_ns),
    }
}

/// The call moves requests, not responses.
pub(super) fn is_request(call: &Bytes<'_>) -> bool {
    matches!((call.role, call.direction), (Role::Server, Direction::In) | (Role::Client, Direction::Out))
}

/// A call's bytes as a stream: seen, not captured, seen.
pub(super) fn spans<'a>(call: &Bytes<'a>) -> [Span<'a>; 3] {
    let seen = (call.head.len() + call.tail.len()) as u64;
    [Span::Seen(call.head), Span::Gap(call.bytes.saturating_sub(seen)), Span::Seen(call.tail)]
}

impl Conn {
    /// A connection whose first byte we see, or one that is older and of unknown state.
    pub(super) fn new(from_its_start: bool) -> Self {
        Self {
            place: None,
            inbound: if from_its_start { Inbound::Head(BytesMut::new()) } else { Inbound::Resync },
            may_end: false,
            outbound: Outbound::Head(BytesMut::new()),
            pending: VecDeque::new(),
            unknown_bytes: (!from_its_start).then_some(0),
        }
    }

    /// A connection that has ended already, of which queued bytes are still being read.
    pub(super) fn late() -> Self {
        Self { unknown_bytes: None, ..Self::new(false) }
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

    /// The newest request has been read whole.
    pub(super) fn request_read(&mut self, out: &mut Vec<Event>) {
        self.inbound = Inbound::Head(BytesMut::new());
        if let Some(newest) = self.pending.back_mut()
            && !newest.told
        {
            newest.told = true;
            newest.request.complete = true;
            out.push(Event::Request(newest.request.clone()));
        }
    }

    /// The oldest request has its whole response.
    pub(super) fn response_sent(&mut self, out: &mut Vec<Event>) {
        self.outbound = Outbound::Head(BytesMut::new());
        self.settle(Ending::Complete, None, out);
    }

    /// The connection has ended.
    pub(super) fn closed(&mut self, closed: &Closed, out: &mut Vec<Event>) {
        // Its end is the end of such a body, unless it was torn down.
        if matches!(self.outbound, Outbound::Body(Body::UntilClose)) && !closed.reset {
            self.settle(Ending::Complete, None, out);
        }
        self.end_all(Ending::Aborted, closed.ts_ns, out);
        self.outbound = Outbound::Head(BytesMut::new());
    }

    /// A new request begins, so the response whose end was out of sight has ended.
    pub(super) fn settle_lost(&mut self, out: &mut Vec<Event>) {
        if matches!(self.outbound, Outbound::Body(Body::Lost)) {
            self.response_sent(out);
        }
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
            // A call that was under way when another thread closed the connection returns behind that.
            last_send_ns: end_ns.unwrap_or(0).max(oldest.last_send_ns),
            bytes: oldest.bytes_out,
            ending,
        }));
    }
}
