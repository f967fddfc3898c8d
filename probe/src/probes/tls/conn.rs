//! One encrypted connection: gives plain text the times of the cipher text that carried it.
//!
//! A library that reads and writes the socket itself does so inside its own calls. One that works on memory (Python's
//! asyncio, uvloop) is given cipher text just after the socket was read, and what it makes is written just after; both
//! orders are told apart by the times of the calls.

use std::collections::VecDeque;

use super::decode::Plain;
use crate::{
    event::ConnId,
    probes::bytes::{Bytes, Direction, Role},
};

/// Most plain text in one TLS record (RFC 8446, 5.1).
const RECORD: u64 = 16 * 1024;
/// Fewest bytes that a record adds: header, content type and the shortest tag (RFC 8446, 5.2; RFC 6655).
const RECORD_EXTRA: u64 = 5 + 1 + 8;
/// Writes that can wait for their cipher text; the oldest is handed on as if it had been sent when there are more.
const MAX_WAITING: usize = 1024;

/// Reads or writes of cipher text since the last plain text.
#[derive(Clone, Copy, Debug)]
struct Span {
    enter_ns: Option<u64>,
    exit_ns: u64,
    arrival_ns: Option<u64>,
    acked_ns: Option<u64>,
    nonblocking: bool,
}

/// Plain text that was taken but whose cipher text has not been sent.
#[derive(Debug)]
struct Waiting {
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Cipher text that it becomes, at least, and how much of that has been sent.
    cipher_bytes: u64,
    sent_bytes: u64,
    /// Entry of the first call that sent some of it.
    enter_ns: Option<u64>,
    taken_ns: u64,
}

/// The state of a connection that carries TLS.
#[derive(Debug)]
pub(super) struct Conn {
    id: ConnId,
    pub(super) role: Role,
    port: u16,
    pub(super) pid: u32,
    /// The session object that speaks for it.
    pub(super) ssl: Option<(u32, u64)>,
    /// Its first byte was seen.
    pub(super) from_its_start: bool,
    /// Cipher text in both directions, bytes.
    pub(super) bytes: u64,
    unread: Option<Span>,
    last_read: Option<Span>,
    /// Writes since the last plain text that came before it.
    early: Option<Span>,
    waiting: VecDeque<Waiting>,
}

impl Conn {
    pub(super) fn new(id: ConnId, role: Role, port: u16, from_its_start: bool) -> Self {
        Self {
            id,
            role,
            port,
            pid: 0,
            ssl: None,
            from_its_start,
            bytes: 0,
            unread: None,
            last_read: None,
            early: None,
            waiting: VecDeque::new(),
        }
    }

    const fn whose(&self) -> Whose {
        Whose { id: self.id, role: self.role, port: self.port, pid: self.pid }
    }

    /// Captured bytes that this connection holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.head.len() + waiting.tail.len()).sum()
    }

    /// The session is set up: what was read for it belongs to no plain text, but for the end of the last read.
    pub(super) fn handshake(&mut self) {
        self.unread = self.last_read;
        self.early = None;
        self.waiting.clear();
    }

    /// Cipher text was read.
    pub(super) fn received(&mut self, call: &Bytes<'_>) {
        self.bytes += call.bytes;
        let span = span(call);
        self.last_read = Some(span);
        // Of several reads for one plain text, the first one's arrival and the last one's return.
        self.unread = Some(match self.unread {
            Some(before) => Span { exit_ns: span.exit_ns, ..before },
            None => span,
        });
    }

    /// Plain text came out of the library, or nothing did, because no whole record was there.
    pub(super) fn read<'a>(&mut self, plain: &'a Plain<'_>) -> Option<Bytes<'a>> {
        let unread = self.unread.take();
        // What was written before is no answer to this.
        self.early = None;
        if plain.bytes == 0 {
            return None;
        }
        // What was read inside this very call is what it returns; all before it was for something else.
        let inside = self.last_read.filter(|last| last.enter_ns.is_some_and(|enter| enter >= plain.enter_ns));
        let before = unread.filter(|unread| unread.enter_ns.is_some_and(|enter| enter < plain.enter_ns));
        let span = match (inside, before) {
            (Some(inside), Some(_)) => Some(inside),
            // Of a record that a read before brought too.
            _ => unread.or(self.last_read),
        };
        Some(Bytes {
            direction: Direction::In,
            role: self.role,
            conn: self.id,
            pid: plain.pid,
            tid: plain.tid,
            port: self.port,
            enter_ns: span.map_or(Some(plain.enter_ns), |span| span.enter_ns),
            exit_ns: span.map_or(plain.exit_ns, |span| span.exit_ns),
            arrival_ns: span.and_then(|span| span.arrival_ns),
            acked_ns: span.and_then(|span| span.acked_ns),
            nonblocking: span.is_some_and(|span| span.nonblocking),
            end_seq: None,
            bytes: plain.bytes,
            head: plain.head,
            tail: &plain.tail,
        })
    }

    /// Plain text went into the library. Hands on what has been sent already.
    pub(super) fn wrote(&mut self, plain: &Plain<'_>, sink: &mut impl FnMut(Bytes<'_>)) {
        let whose = self.whose();
        let n_records = plain.bytes.div_ceil(RECORD);
        let waiting = Waiting {
            bytes: plain.bytes,
            head: plain.head.to_vec(),
            tail: plain.tail.clone(),
            cipher_bytes: plain.bytes.saturating_add(n_records.saturating_mul(RECORD_EXTRA)),
            sent_bytes: 0,
            enter_ns: None,
            taken_ns: plain.exit_ns,
        };
        let early = self.early.take();
        if let Some(early) = early
            && early.exit_ns >= plain.enter_ns
        {
            let enter_ns = early.enter_ns.map(|enter| enter.max(plain.enter_ns));
            sink(waiting.sent(whose, &Span { enter_ns, ..early }));
            return;
        }
        if self.waiting.len() >= MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            sink(oldest.unsent(whose));
        }
        self.waiting.push_back(waiting);
    }

    /// Cipher text was sent: hands on the plain text that it carried.
    pub(super) fn sent(&mut self, call: &Bytes<'_>, sink: &mut impl FnMut(Bytes<'_>)) {
        self.bytes += call.bytes;
        let span = span(call);
        if self.waiting.is_empty() {
            self.early = Some(match self.early {
                Some(before) => Span { enter_ns: before.enter_ns, ..span },
                None => span,
            });
            return;
        }
        let whose = self.whose();
        let mut left = call.bytes;
        while let Some(oldest) = self.waiting.front_mut() {
            let first = oldest.enter_ns.is_none();
            oldest.enter_ns = oldest.enter_ns.or(span.enter_ns).or(Some(span.exit_ns));
            let due = oldest.cipher_bytes - oldest.sent_bytes;
            if left < due {
                oldest.sent_bytes += left;
                return;
            }
            left -= due;
            if let Some(oldest) = self.waiting.pop_front() {
                // In several calls, its end is the last one's return.
                let span = Span { enter_ns: oldest.enter_ns, nonblocking: span.nonblocking && first, ..span };
                sink(oldest.sent(whose, &span));
            }
            if left == 0 {
                return;
            }
        }
    }
}

/// Whose bytes these are.
#[derive(Clone, Copy)]
struct Whose {
    id: ConnId,
    role: Role,
    port: u16,
    pid: u32,
}

impl Waiting {
    fn sent(&self, to: Whose, span: &Span) -> Bytes<'_> {
        Bytes {
            direction: Direction::Out,
            role: to.role,
            conn: to.id,
            pid: to.pid,
            tid: 0,
            port: to.port,
            enter_ns: span.enter_ns,
            exit_ns: span.exit_ns,
            arrival_ns: None,
            acked_ns: None,
            nonblocking: span.nonblocking,
            end_seq: None,
            bytes: self.bytes,
            head: &self.head,
            tail: &self.tail,
        }
    }

    fn unsent(&self, to: Whose) -> Bytes<'_> {
        let taken = Span {
            enter_ns: Some(self.taken_ns),
            exit_ns: self.taken_ns,
            arrival_ns: None,
            acked_ns: None,
            nonblocking: true,
        };
        self.sent(to, &taken)
    }
}

fn span(call: &Bytes<'_>) -> Span {
    Span {
        enter_ns: call.enter_ns,
        exit_ns: call.exit_ns,
        arrival_ns: call.arrival_ns,
        acked_ns: call.acked_ns,
        nonblocking: call.nonblocking,
    }
}
