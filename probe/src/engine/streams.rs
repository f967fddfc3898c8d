//! The bytes of connections on their way through the rooms that understand them: TLS, HTTP, and what follows HTTP.

use crate::{
    event::{Accepted, Closed, ConnId, Event, Sample, Unconnected},
    probes::{
        bytes::{Bytes, Peer, Role},
        http, tls, websocket,
    },
};

/// A response that ends HTTP on its connection (RFC 9110, 15.2.2).
const SWITCHING_PROTOCOLS: u16 = 101;

/// The decoders of all connections.
#[derive(Debug, Default)]
pub(super) struct Streams {
    tls: tls::Sessions,
    plain: PlainStreams,
}

/// What is behind TLS, or never was inside.
#[derive(Debug, Default)]
struct PlainStreams {
    http: http::Decoder,
    websocket: websocket::Decoder,
}

impl Streams {
    /// A connection was accepted.
    pub(super) fn accepted(&mut self, accepted: &mut Accepted, out: &mut Vec<Event>) {
        self.tls.accepted(accepted);
        self.plain.http.accepted(accepted, out);
    }

    /// A connection's other end is known.
    pub(super) fn peer(&mut self, ts_ns: u64, peer: Peer, out: &mut Vec<Event>) {
        self.plain.http.peer(ts_ns, peer, out);
    }

    /// A connection did not come about. Fills in the name by which its peer is known.
    pub(super) fn unconnected(&self, unconnected: &mut Unconnected) {
        if let Some(host) = self.plain.http.host_at(&unconnected.to) {
            host.clone_into(&mut unconnected.to);
        }
    }

    /// Bytes were read from a connection or written to it.
    pub(super) fn bytes(&mut self, bytes: &Bytes<'_>, out: &mut Vec<Event>) {
        self.tls.bytes(bytes, |bytes| self.plain.bytes(bytes, out));
    }

    /// A TLS library was called.
    pub(super) fn plain(&mut self, plain: &tls::Plain<'_>, out: &mut Vec<Event>) {
        self.tls.plain(plain, |bytes| self.plain.bytes(bytes, out));
    }

    /// The peer acknowledged bytes.
    pub(super) fn acked(&mut self, conn: ConnId, seq: u32, ts_ns: u64, out: &mut Vec<Event>) {
        self.plain.websocket.acked(conn, seq, ts_ns, out);
    }

    /// Forgets all other connections: the kernel side follows them no longer.
    pub(super) fn keep(&mut self, sample: Sample) {
        self.tls.keep(sample);
        self.plain.http.keep(sample);
        self.plain.websocket.keep(sample);
    }

    /// A connection ended; the event comes once its last call has been seen.
    pub(super) fn closed(&mut self, closed: Closed) {
        self.tls.closed(&closed);
        self.plain.http.closed(closed);
    }

    /// The ring has been drained.
    pub(super) fn drained(&mut self, out: &mut Vec<Event>) {
        self.tls.drained();
        let before = out.len();
        self.plain.http.drained(out);
        for event in out.iter().skip(before) {
            if let Event::Closed(closed) = event {
                self.plain.websocket.closed(closed.conn);
            }
        }
    }

    /// The run is over.
    pub(super) fn finish(&mut self, end_ns: u64, out: &mut Vec<Event>) {
        self.plain.http.finish(end_ns, out);
    }

    /// Requests that were awaited inside a TLS library at the attach.
    pub(super) const fn n_awaited(&self) -> u64 {
        self.tls.n_awaited()
    }

    /// WebSockets whose frames were not understood.
    pub(super) const fn undecoded_websockets(&self) -> websocket::Undecoded {
        self.plain.websocket.undecoded()
    }

    /// Everything else that was not understood.
    pub(super) fn undecoded(&self) -> impl Iterator<Item = (Role, http::Why, http::Undecoded)> {
        let encrypted = self.tls.encrypted().into_iter().map(|(role, tls::Encrypted { conns, bytes })| {
            (role, http::Why::Tls, http::Undecoded { conns, bytes })
        });
        // What follows an upgrade by the target is the websocket room's to tell.
        let is_told = |role: Role, why| role == Role::Server && why == http::Why::Upgraded;
        self.plain.http.undecoded().filter(move |(role, why, _)| !is_told(*role, *why)).chain(encrypted)
    }
}

impl PlainStreams {
    fn bytes(&mut self, bytes: &Bytes<'_>, out: &mut Vec<Event>) {
        if self.websocket.owns(bytes.conn) {
            return self.websocket.bytes(bytes, out);
        }
        let before = out.len();
        self.http.bytes(bytes, out);
        if bytes.role == Role::Client {
            return;
        }
        let head_bytes = out.iter().skip(before).find_map(|event| match event {
            Event::Response(response) if response.status == SWITCHING_PROTOCOLS => Some(response.bytes),
            _ => None,
        });
        let Some(head_bytes) = head_bytes else { return };
        self.websocket.upgraded(bytes.conn);
        // Frames may follow the head in the same call.
        let begins_here = bytes.head.starts_with(b"HTTP/");
        if let Ok(n) = usize::try_from(head_bytes)
            && let Some(head) = bytes.head.get(n..).filter(|_| begins_here && bytes.bytes > head_bytes)
        {
            self.websocket.bytes(&Bytes { bytes: bytes.bytes - head_bytes, head, ..*bytes }, out);
        }
    }
}
