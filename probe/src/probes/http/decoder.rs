//! All connections: hands each one its bytes, and counts what cannot be decoded.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::conn::{Conn, MAX_HEAD, is_request};
use crate::{
    event::{Accepted, Closed, ConnId, Ending, Event, Request, Sample},
    probes::bytes::{Bytes, Peer, Place, Role},
};

/// Connections that are followed at once; the kernel side follows as many.
const MAX_CONNS: usize = 65_536;

/// Ended connections that are remembered; late calls come within the time that an accept queue is drained in.
const MAX_GONE: usize = 8_192;

/// Bytes of unfinished heads over all connections; beyond it a connection with one is given up, so that
/// thousands of slow or hostile clients cannot grow our memory.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// Addresses of which the name is kept that requests to them bear.
const MAX_HOSTS: usize = 256;

/// Why a connection's bytes cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// TLS records.
    Tls,
    /// HTTP/2.
    Http2,
    /// A WebSocket or another protocol, after status 101.
    Upgraded,
    /// Not HTTP, or not as its framing says.
    Garbled,
    /// More connections or unfinished heads at once than are followed.
    Capacity,
    /// Older than the attach, and no request began on it since: what it carries is not known.
    Older,
}

impl Why {
    /// What bytes are that are no HTTP/1.x head.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            // RFC 8446, 5.1: handshake (22) or application data (23), legacy version 3.x.
            [0x16 | 0x17, 0x03, ..] => Self::Tls,
            _ if bytes.starts_with(b"PRI * HTTP/2.0") => Self::Http2,
            _ => Self::Garbled,
        }
    }
}

/// What was not decoded, for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecoded {
    /// Connections.
    pub conns: u64,
    /// Bytes in both directions.
    pub bytes: u64,
}

/// A connection as we know it.
#[derive(Debug)]
enum State {
    // Boxed: a connection that left HTTP should cost no more than its reason.
    Http(Box<Conn>),
    Opaque(Why),
}

/// Decodes HTTP/1.x on any number of connections.
///
/// A call and the end of its connection can reach us in either order: a peer that resets as soon as it has its response
/// is gone before the sending call returns, and an application can read or accept what was queued long after. So an end
/// takes effect a whole drain later, and an id stays known as ended for a while.
#[derive(Debug, Default)]
pub struct Decoder {
    conns: FxHashMap<ConnId, State>,
    /// Ends that have not taken effect, with the drain in which they came.
    closing: VecDeque<(u64, Closed)>,
    /// Ends that have, oldest first.
    gone: VecDeque<ConnId>,
    gone_at: FxHashMap<ConnId, Closed>,
    drain: u64,
    undecoded: BTreeMap<(Role, Why), Undecoded>,
    held_bytes: usize,
    /// Whom the newest request of the tree to an address asked, by address.
    hosts: FxHashMap<String, String>,
}

impl Decoder {
    /// A connection was accepted: its first byte is still to come. Fills in the path of a Unix-domain listener.
    pub fn accepted(&mut self, accepted: &mut Accepted, out: &mut Vec<Event>) {
        self.make_room(accepted.ts_ns, out);
        let state = self.conns.entry(accepted.conn);
        let state = state.or_insert_with(|| State::Http(Box::new(Conn::new(true))));
        if let State::Http(conn) = state {
            accepted.path.clone_from(&conn.place);
        }
    }

    /// A connection is followed from here on, at the beginning of a request.
    pub fn peer(&mut self, ts_ns: u64, peer: Peer, out: &mut Vec<Event>) {
        self.make_room(ts_ns, out);
        let place = match (peer.role, peer.at) {
            (_, Place::Net(addr)) => addr.to_string(),
            (Role::Server, Place::Path(path)) => path,
            (Role::Client, Place::Path(path)) => format!("unix:{path}"),
        };
        let conn = Conn { place: Some(place), ..Conn::new(true) };
        self.conns.entry(peer.conn).or_insert_with(|| State::Http(Box::new(conn)));
    }

    /// The application read or wrote bytes.
    pub fn bytes(&mut self, bytes: &Bytes<'_>, out: &mut Vec<Event>) {
        if is_request(bytes) {
            let before = out.len();
            self.step(bytes, out, |conn, out| conn.request_bytes(bytes, out).map(|()| false));
            if bytes.role == Role::Client {
                self.name_hosts(out.get(before..).unwrap_or_default());
            }
        } else {
            self.step(bytes, out, |conn, out| conn.response_bytes(bytes, out));
        }
    }

    /// Whom requests to this address (`address:port`) asked.
    pub fn host_at(&self, address: &str) -> Option<&str> {
        self.hosts.get(address).map(String::as_str)
    }

    fn name_hosts(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Request(Request { conn, outgoing: Some(host), .. }) = event
                && let Some(State::Http(conn)) = self.conns.get(conn)
                && let Some(place) = &conn.place
                && place != host
                && (self.hosts.len() < MAX_HOSTS || self.hosts.contains_key(place))
                && self.hosts.get(place) != Some(host)
            {
                self.hosts.insert(place.clone(), host.clone());
            }
        }
    }

    /// Forgets all other connections, without a word: nothing more of them will come, not even their end.
    pub fn keep(&mut self, sample: Sample) {
        self.closing.retain(|(_, closed)| sample.has(closed.conn));
        self.conns.retain(|conn, state| {
            let is_kept = sample.has(*conn);
            if let State::Http(conn) = state
                && !is_kept
            {
                self.held_bytes -= conn.held_bytes();
            }
            is_kept
        });
    }

    /// A connection ended.
    pub fn closed(&mut self, closed: Closed) {
        self.closing.push_back((self.drain, closed));
    }

    /// The ring has been drained: ends from before the last time take effect.
    pub fn drained(&mut self, out: &mut Vec<Event>) {
        self.drain += 1;
        while let Some((drain, _)) = self.closing.front()
            && drain + 1 < self.drain
            && let Some((_, closed)) = self.closing.pop_front()
        {
            self.end(closed, out);
        }
    }

    /// The run is over: requests without their whole response are in flight.
    pub fn finish(&mut self, end_ns: u64, out: &mut Vec<Event>) {
        while let Some((_, closed)) = self.closing.pop_front() {
            self.end(closed, out);
        }
        let mut conns: Vec<_> = std::mem::take(&mut self.conns).into_iter().collect();
        conns.sort_by_key(|(id, _)| *id);
        for (_, state) in conns {
            if let State::Http(mut conn) = state {
                self.count_unknown(&conn);
                conn.end_all(Ending::InFlight, end_ns, out);
            }
        }
        self.held_bytes = 0;
    }

    /// What could not be decoded so far.
    pub fn undecoded(&self) -> impl Iterator<Item = (Role, Why, Undecoded)> {
        self.undecoded.iter().map(|((role, why), undecoded)| (*role, *why, *undecoded))
    }

    fn count_unknown(&mut self, conn: &Conn) {
        if let Some(bytes) = conn.unknown_bytes() {
            let undecoded = self.undecoded.entry((Role::Server, Why::Older)).or_default();
            undecoded.conns += 1;
            undecoded.bytes += bytes;
        }
    }

    /// An end takes effect.
    fn end(&mut self, closed: Closed, out: &mut Vec<Event>) {
        if let Some(State::Http(mut conn)) = self.conns.remove(&closed.conn) {
            self.held_bytes -= conn.held_bytes();
            self.count_unknown(&conn);
            conn.closed(&closed, out);
        }
        // Should bytes of it still come, they end once more, but nobody gives up waiting for accept twice.
        if self.gone_at.insert(closed.conn, Closed { unaccepted: false, ..closed.clone() }).is_none() {
            self.gone.push_back(closed.conn);
        }
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.gone_at.remove(&oldest);
        }
        out.push(Event::Closed(closed));
    }

    /// Gives up the oldest connections when there are too many: their ends were lost, or they are idle.
    fn make_room(&mut self, now_ns: u64, out: &mut Vec<Event>) {
        if self.conns.len() < MAX_CONNS {
            return;
        }
        // Ids grow with time.
        let mut ids: Vec<ConnId> = self.conns.keys().copied().collect();
        let n_given_up = MAX_CONNS / 16;
        ids.select_nth_unstable(n_given_up);
        for conn in ids.drain(..n_given_up) {
            if let Some(State::Http(http)) = self.conns.get_mut(&conn) {
                http.end_all(Ending::InFlight, now_ns, out);
                self.undecoded.entry((Role::Server, Why::Capacity)).or_default().conns += 1;
            }
            self.end(
                Closed { ts_ns: now_ns, conn, port: 0, reset: false, unaccepted: false, acked_ns: None },
                out,
            );
        }
    }

    fn step(
        &mut self,
        bytes: &Bytes<'_>,
        out: &mut Vec<Event>,
        step: impl FnOnce(&mut Conn, &mut Vec<Event>) -> Result<bool, Why>,
    ) {
        if !self.conns.contains_key(&bytes.conn) {
            self.make_room(bytes.exit_ns, out);
            if let Some(closed) = self.gone_at.get(&bytes.conn) {
                self.closing.push_back((self.drain, closed.clone()));
            }
        }
        let is_late = self.gone_at.contains_key(&bytes.conn);
        let held_bytes = self.held_bytes;
        let state = self
            .conns
            .entry(bytes.conn)
            .or_insert_with(|| State::Http(Box::new(if is_late { Conn::late() } else { Conn::new(false) })));
        let conn = match state {
            State::Http(conn) => conn,
            State::Opaque(why) => {
                let why = *why;
                self.undecoded.entry((bytes.role, why)).or_default().bytes += bytes.bytes;
                return;
            }
        };
        let before = conn.held_bytes();
        let mut left = match step(conn, out) {
            Ok(false) => None,
            Ok(true) => Some((Why::Upgraded, 0)),
            Err(why) => Some((why, bytes.bytes)),
        };
        let mut held = conn.held_bytes();
        if left.is_none() && held > before && held_bytes - before + held > MAX_HELD {
            left = Some((Why::Capacity, held as u64));
        }
        if let Some((why, bytes_lost)) = left {
            // What was asked before stays asked: its answer will not be recognised.
            conn.end_all(Ending::InFlight, bytes.exit_ns, out);
            *state = State::Opaque(why);
            held = 0;
            let undecoded = self.undecoded.entry((bytes.role, why)).or_default();
            undecoded.conns += 1;
            undecoded.bytes += bytes_lost;
        }
        self.held_bytes = self.held_bytes - before + held;
    }
}

const _: () = assert!(MAX_HELD > 2 * MAX_HEAD);

#[cfg(test)]
#[path = "bounds_tests.rs"]
mod bounds_tests;
#[cfg(test)]
#[path = "client_tests.rs"]
mod client_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
