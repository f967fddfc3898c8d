//! All sessions: which one speaks for which connection, and which connections nobody speaks for.
//!
//! A session is tied to the connection from which its thread read last when its handshake succeeded: a handshake ends with
//! a message of the peer, which has just been read. A session that is older than the attach is tied by its first read
//! instead, where the connection has no other session. Both are certain unless a thread reads from one connection and
//! then hands another session what it had kept from before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use super::{
    conn::Conn,
    decode::{Call, Plain},
};
use crate::{
    event::{Accepted, Closed, ConnId, Sample},
    probes::bytes::{Bytes, Direction, Role},
};

/// Connections that are known at once, encrypted or not; the kernel side follows as many.
const MAX_CONNS: usize = 65_536;

/// Captured plain text that waits for its cipher text, over all connections.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// Connections whose content stayed unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encrypted {
    /// How many.
    pub conns: u64,
    /// Bytes of cipher text in both directions.
    pub bytes: u64,
}

impl Encrypted {
    fn add(&mut self, bytes: u64) {
        self.conns += 1;
        self.bytes += bytes;
    }
}

/// What a connection is.
#[derive(Debug)]
enum State {
    /// Accepted; its first byte is to come.
    New,
    /// No TLS.
    Open,
    // Boxed: an open connection should cost no more than knowing that.
    Tls(Box<Conn>),
}

/// Turns cipher text into plain text, wherever the library of the target tells it.
#[derive(Debug, Default)]
pub struct Sessions {
    conns: FxHashMap<ConnId, State>,
    /// Also those of connections outside the sample: else such a session would be tied to whatever its thread read last.
    by_ssl: FxHashMap<(u32, u64), ConnId>,
    /// The connections that are followed.
    sample: Sample,
    /// Processes whose library is seen.
    told: BTreeSet<u32>,
    /// Ends that have not taken effect, with the drain in which they came: the last calls may be on their way.
    closing: VecDeque<(u64, ConnId)>,
    drain: u64,
    held_bytes: usize,
    encrypted: BTreeMap<Role, Encrypted>,
    n_awaited: u64,
}

impl Sessions {
    /// A connection was accepted: its first byte is still to come.
    pub fn accepted(&mut self, accepted: &Accepted) {
        self.make_room();
        self.conns.entry(accepted.conn).or_insert(State::New);
    }

    /// Bytes that were read or written. What is no TLS is handed on as it is.
    pub fn bytes(&mut self, bytes: &Bytes<'_>, mut sink: impl FnMut(&Bytes<'_>)) {
        if !self.conns.contains_key(&bytes.conn) {
            self.make_room();
        }
        let known = self.conns.get(&bytes.conn);
        if matches!(known, None | Some(State::New)) {
            let state = if is_record(bytes.head) {
                // A client speaks first: what it begins with is a handshake where this is its begin.
                let begins = bytes.role == Role::Client && bytes.head.first() == Some(&HANDSHAKE);
                let conn = Conn::new(bytes.conn, bytes.role, bytes.port, known.is_some() || begins);
                State::Tls(Box::new(conn))
            } else {
                State::Open
            };
            self.conns.insert(bytes.conn, state);
        }
        let Some(State::Tls(conn)) = self.conns.get_mut(&bytes.conn) else { return sink(bytes) };
        conn.pid = bytes.pid;
        match bytes.direction {
            Direction::In => conn.received(bytes),
            Direction::Out => {
                let before = conn.held_bytes();
                conn.sent(bytes, &mut |bytes| sink(&bytes));
                self.held_bytes = (self.held_bytes + conn.held_bytes()).saturating_sub(before);
            }
        }
    }

    /// A call of a TLS library. Hands on the plain text that it moved, once it has been sent.
    pub fn plain(&mut self, plain: &Plain<'_>, mut sink: impl FnMut(&Bytes<'_>)) {
        self.told.insert(plain.pid);
        let ssl = (plain.pid, plain.ssl);
        match plain.call {
            Call::Handshake if plain.bytes == 0 => return,
            Call::Handshake => {
                self.tie(ssl, plain.read_conn, true);
            }
            Call::Read if plain.bytes > 0 && !self.by_ssl.contains_key(&ssl) => {
                self.tie(ssl, plain.read_conn, false);
            }
            // An answer before anything was read: the call that returned the request began before the attach.
            Call::Write if !self.by_ssl.contains_key(&ssl) => {
                self.n_awaited += u64::from(self.tie(ssl, plain.read_conn, false));
            }
            _ => {}
        }
        let Some(State::Tls(conn)) = self.by_ssl.get(&ssl).and_then(|conn| self.conns.get_mut(conn)) else {
            return;
        };
        let before = conn.held_bytes();
        match plain.call {
            Call::Handshake => conn.handshake(),
            Call::Read => {
                if let Some(bytes) = conn.read(plain) {
                    sink(&bytes);
                }
            }
            Call::Write if self.held_bytes < MAX_HELD => conn.wrote(plain, &mut |bytes| sink(&bytes)),
            // Its length counts, and that is all.
            Call::Write => {
                let bare = Plain { head: &[], tail: Vec::new(), ..plain.clone() };
                conn.wrote(&bare, &mut |bytes| sink(&bytes));
            }
        }
        self.held_bytes = (self.held_bytes + conn.held_bytes()).saturating_sub(before);
    }

    /// Forgets all other connections, but not their sessions, whose calls are still seen.
    pub fn keep(&mut self, sample: Sample) {
        self.sample = sample;
        self.conns.retain(|conn, state| {
            let is_kept = sample.has(*conn);
            if let State::Tls(conn) = state
                && !is_kept
            {
                self.held_bytes = self.held_bytes.saturating_sub(conn.held_bytes());
            }
            is_kept
        });
    }

    /// A connection ended.
    pub fn closed(&mut self, closed: &Closed) {
        self.closing.push_back((self.drain, closed.conn));
    }

    /// The ring has been drained: ends from before the last time take effect.
    pub fn drained(&mut self) {
        self.drain += 1;
        while let Some((drain, conn)) = self.closing.front().copied()
            && drain + 1 < self.drain
        {
            self.closing.pop_front();
            self.end(conn);
        }
    }

    /// Connections whose content stayed unknown, those that are still open included.
    pub fn encrypted(&self) -> BTreeMap<Role, Encrypted> {
        let mut all = self.encrypted.clone();
        for (role, bytes) in self.conns.values().filter_map(|state| self.unknown(state)) {
            all.entry(role).or_default().add(bytes);
        }
        all
    }

    /// Requests that a thread awaited inside the library when it was attached to, and that were not seen.
    pub const fn n_awaited(&self) -> u64 {
        self.n_awaited
    }

    /// Bytes of a connection for which no session speaks. Where the library is seen and the handshake would have been,
    /// there was none: nothing but a handshake that failed is unknown then.
    fn unknown(&self, state: &State) -> Option<(Role, u64)> {
        let State::Tls(conn) = state else { return None };
        let failed_handshake = conn.from_its_start && self.told.contains(&conn.pid);
        (conn.ssl.is_none() && !failed_handshake).then_some((conn.role, conn.bytes))
    }

    /// True when it is tied now.
    fn tie(&mut self, ssl: (u32, u64), conn_id: Option<ConnId>, by_handshake: bool) -> bool {
        let Some(conn_id) = conn_id else { return false };
        if !self.sample.has(conn_id) {
            self.tie_outside(ssl, conn_id);
            return false;
        }
        let Some(State::Tls(conn)) = self.conns.get_mut(&conn_id) else { return false };
        if conn.ssl.is_some_and(|other| other != ssl) && !by_handshake {
            return false;
        }
        if let Some(other) = conn.ssl.replace(ssl).filter(|other| *other != ssl) {
            self.by_ssl.remove(&other);
        }
        // The same address may have been another connection's session.
        if let Some(before) = self.by_ssl.insert(ssl, conn_id).filter(|before| *before != conn_id)
            && let Some(State::Tls(before)) = self.conns.get_mut(&before)
        {
            before.ssl = None;
        }
        true
    }

    /// Of a connection that is not followed, so that its end will not come either.
    fn tie_outside(&mut self, ssl: (u32, u64), conn: ConnId) {
        if self.by_ssl.len() >= MAX_CONNS {
            self.by_ssl.retain(|_, conn| self.sample.has(*conn));
        }
        if let Some(before) = self.by_ssl.insert(ssl, conn)
            && let Some(State::Tls(before)) = self.conns.get_mut(&before)
        {
            before.ssl = None;
        }
    }

    fn end(&mut self, conn: ConnId) {
        let Some(state) = self.conns.remove(&conn) else { return };
        if let Some((role, bytes)) = self.unknown(&state) {
            self.encrypted.entry(role).or_default().add(bytes);
        }
        if let State::Tls(conn_state) = state {
            self.held_bytes = self.held_bytes.saturating_sub(conn_state.held_bytes());
            if let Some(ssl) = conn_state.ssl
                && self.by_ssl.get(&ssl) == Some(&conn)
            {
                self.by_ssl.remove(&ssl);
            }
        }
    }

    /// Forgets the oldest connections when there are too many: their ends were lost, or they are idle.
    fn make_room(&mut self) {
        if self.conns.len() < MAX_CONNS {
            return;
        }
        // Ids grow with time.
        let mut ids: Vec<ConnId> = self.conns.keys().copied().collect();
        let n_given_up = MAX_CONNS / 16;
        ids.select_nth_unstable(n_given_up);
        ids.truncate(n_given_up);
        for id in ids {
            self.end(id);
        }
    }
}

/// Type of a record that carries a handshake.
const HANDSHAKE: u8 = 22;

/// Bytes begin like a TLS record: change cipher spec to application data (20 to 23), version 3.x (RFC 8446, 5.1).
fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, 0..=4, ..])
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
