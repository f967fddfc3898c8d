//! All WebSockets: gives frames the times of the calls that moved them, matches pongs with pings and acknowledgements with
//! messages.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::frame::{Broken, CLOSE, Found, Frames, PING, PONG};
use crate::{
    event::{CloseFrame, ConnId, Event, Message, MessageAcked, Pong, Sample},
    probes::bytes::{Bytes, Direction},
};

/// WebSockets that are followed at once; the kernel side follows as many connections.
const MAX_CONNS: usize = 65_536;
/// Pings without a pong that are remembered.
const MAX_PINGS: usize = 16;
/// Messages without an acknowledgement that are remembered; what is older has no delivery.
const MAX_UNACKED: usize = 1024;
/// Acknowledgements that are remembered: one can be seen before the call whose bytes it covers has returned.
const MAX_ACKS: usize = 64;

/// WebSockets whose frames were not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecoded {
    /// Connections.
    pub conns: u64,
    /// Bytes from the call on in which it was lost.
    pub bytes: u64,
}

#[derive(Debug)]
struct Conn {
    inbound: Frames,
    outbound: Frames,
    /// When the message that is under way in began to arrive.
    arrival_ns: Option<u64>,
    /// When the message that is under way out began to be sent.
    first_send_ns: u64,
    pings: VecDeque<(Vec<u8>, u64)>,
    /// Sequence number behind the last byte, and when that was sent.
    unacked: VecDeque<(u32, u64)>,
    acks: VecDeque<(u32, u64)>,
}

/// Decodes the frames of any number of WebSockets.
#[derive(Debug, Default)]
pub struct Decoder {
    /// None for a connection whose frames are not understood.
    conns: FxHashMap<ConnId, Option<Box<Conn>>>,
    undecoded: Undecoded,
}

impl Decoder {
    /// A connection left HTTP: what follows are frames.
    pub fn upgraded(&mut self, conn: ConnId) {
        let state = (self.conns.len() < MAX_CONNS).then(|| {
            Box::new(Conn {
                inbound: Frames::new(true),
                outbound: Frames::new(false),
                arrival_ns: None,
                first_send_ns: 0,
                pings: VecDeque::new(),
                unacked: VecDeque::new(),
                acks: VecDeque::new(),
            })
        });
        if state.is_some() {
            self.conns.insert(conn, state);
        } else {
            self.undecoded.conns += 1;
        }
    }

    /// The connection is a WebSocket.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// The application read or wrote bytes of a WebSocket.
    pub fn bytes(&mut self, bytes: &Bytes<'_>, out: &mut Vec<Event>) {
        let Some(state) = self.conns.get_mut(&bytes.conn) else { return };
        let walked = match state {
            None => Err(Broken),
            Some(conn) => {
                let walked = conn.walk(bytes, out);
                if walked.is_err() {
                    self.undecoded.conns += 1;
                }
                walked
            }
        };
        if walked.is_err() {
            *state = None;
            self.undecoded.bytes += bytes.bytes;
        }
    }

    /// The peer has acknowledged everything below a sequence number.
    pub fn acked(&mut self, conn: ConnId, seq: u32, ts_ns: u64, out: &mut Vec<Event>) {
        let Some(Some(state)) = self.conns.get_mut(&conn) else { return };
        while let Some((end, sent_ns)) = state.unacked.front().copied()
            && is_covered(end, seq)
        {
            state.unacked.pop_front();
            out.push(Event::MessageAcked(MessageAcked { conn, sent_ns, acked_ns: ts_ns }));
        }
        bounded_push(&mut state.acks, (seq, ts_ns), MAX_ACKS);
    }

    /// Forgets all others.
    pub fn keep(&mut self, sample: Sample) {
        self.conns.retain(|conn, _| sample.has(*conn));
    }

    /// The connection has ended.
    pub fn closed(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// What could not be decoded so far.
    pub const fn undecoded(&self) -> Undecoded {
        self.undecoded
    }
}

impl Conn {
    fn walk(&mut self, bytes: &Bytes<'_>, out: &mut Vec<Event>) -> Result<(), Broken> {
        let mut all = Vec::new();
        let frames = match bytes.direction {
            Direction::In => &mut self.inbound,
            Direction::Out => &mut self.outbound,
        };
        let gap = bytes.bytes.saturating_sub((bytes.head.len() + bytes.tail.len()) as u64);
        let behind_head = bytes.bytes - bytes.head.len() as u64;
        let walked = frames
            .seen(bytes.head, &mut |found, behind| all.push((found, behind + behind_head)))
            .and_then(|()| {
                frames.gap(gap, &mut |found, behind| all.push((found, behind + bytes.tail.len() as u64)))
            })
            .and_then(|()| frames.seen(bytes.tail, &mut |found, behind| all.push((found, behind))));
        for (found, behind) in all {
            match bytes.direction {
                Direction::In => self.received(bytes, found, out),
                Direction::Out => self.sent(bytes, found, behind, out),
            }
        }
        walked
    }

    fn received(&mut self, bytes: &Bytes<'_>, found: Found, out: &mut Vec<Event>) {
        let conn = bytes.conn;
        match found {
            Found::Began => self.arrival_ns = bytes.arrival_ns,
            Found::Message(payload) => out.push(Event::Message(Message {
                conn,
                inbound: true,
                bytes: payload,
                first_ns: self.arrival_ns,
                last_ns: bytes.exit_ns,
            })),
            Found::Control(PONG, payload) => {
                // Of several pings the last may be answered alone (RFC 6455, 5.5.3).
                let at = match payload {
                    Some(payload) => self.pings.iter().position(|(ping, _)| *ping == payload),
                    None => (!self.pings.is_empty()).then_some(0),
                };
                let Some((_, sent_ns)) = at.and_then(|at| self.pings.drain(..=at).next_back()) else {
                    return;
                };
                if let Some(arrived_ns) = bytes.arrival_ns.filter(|arrived| *arrived >= sent_ns) {
                    out.push(Event::Pong(Pong { conn, sent_ns, arrived_ns }));
                }
            }
            Found::Control(CLOSE, _) => {
                out.push(Event::CloseFrame(CloseFrame { conn, ts_ns: bytes.exit_ns }));
            }
            Found::Control(..) => {}
        }
    }

    fn sent(&mut self, bytes: &Bytes<'_>, found: Found, behind: u64, out: &mut Vec<Event>) {
        let conn = bytes.conn;
        let sent_ns = bytes.sent_ns();
        match found {
            Found::Began => self.first_send_ns = bytes.enter_ns.unwrap_or(bytes.exit_ns),
            Found::Message(payload) => {
                out.push(Event::Message(Message {
                    conn,
                    inbound: false,
                    bytes: payload,
                    first_ns: Some(self.first_send_ns),
                    last_ns: sent_ns,
                }));
                let Some(end) = bytes.end_seq else { return };
                // Sequence numbers wrap.
                let end = end.wrapping_sub(u32::try_from(behind).unwrap_or(0));
                let is_after =
                    |ack: &&(u32, u64)| is_covered(end, ack.0) && ack.1 >= bytes.enter_ns.unwrap_or(0);
                if let Some((_, acked_ns)) = self.acks.iter().find(is_after) {
                    out.push(Event::MessageAcked(MessageAcked { conn, sent_ns, acked_ns: *acked_ns }));
                } else {
                    bounded_push(&mut self.unacked, (end, sent_ns), MAX_UNACKED);
                }
            }
            Found::Control(PING, Some(payload)) => {
                bounded_push(&mut self.pings, (payload, sent_ns), MAX_PINGS);
            }
            Found::Control(CLOSE, _) => out.push(Event::CloseFrame(CloseFrame { conn, ts_ns: sent_ns })),
            Found::Control(..) => {}
        }
    }
}

/// An acknowledgement covers what ends there; sequence numbers wrap: the signed difference orders them.
const fn is_covered(end: u32, ack: u32) -> bool {
    ack.wrapping_sub(end).cast_signed() >= 0
}

/// Adds one, and forgets the oldest where there are too many.
fn bounded_push<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
