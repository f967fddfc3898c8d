//! What the targets share: calls on connections out of a fuzzer's bytes, and what must hold of every outcome.

use std::collections::HashMap;

use probe::{
    event::{Accepted, Closed, ConnId, Ending, Event, Request},
    probes::{
        bytes::{Bytes, Direction, Peer, Place, Role},
        http::Decoder,
    },
};

/// Connections that a script plays on.
pub const CONNS: u64 = 3;

/// A call on a connection that moved these bytes, at this time.
pub fn bytes(conn: ConnId, role: Role, direction: Direction, now: u64, head: &[u8]) -> Bytes<'_> {
    Bytes {
        direction,
        role,
        conn,
        pid: 1,
        tid: 1,
        port: 80,
        enter_ns: Some(now - 1),
        exit_ns: now,
        arrival_ns: Some(now - 5),
        acked_ns: None,
        nonblocking: true,
        end_seq: Some(now as u32),
        bytes: head.len() as u64,
        head,
        tail: b"",
    }
}

/// A decoder, its clock, and what came out.
#[derive(Default)]
pub struct Stage {
    /// The decoder.
    pub decoder: Decoder,
    now: u64,
    /// Everything so far.
    pub events: Vec<Event>,
}

impl Stage {
    /// A connection of which everything will be seen.
    pub fn accept(&mut self, conn: ConnId) {
        self.now += 1;
        let mut accepted = Accepted {
            ts_ns: self.now,
            conn,
            pid: 1,
            port: 80,
            path: None,
            established_ns: Some(self.now),
            backlog: 1,
        };
        self.decoder.accepted(&mut accepted, &mut self.events);
    }

    /// A connection that the tree made.
    pub fn connect(&mut self, conn: ConnId) {
        self.now += 1;
        let at = Place::Path("/run/a".to_owned());
        self.decoder.peer(self.now, Peer { conn, role: Role::Client, at }, &mut self.events);
    }

    /// A call: `head`, so many bytes that were not captured, `tail`.
    pub fn call(&mut self, conn: ConnId, role: Role, direction: Direction, head: &[u8], gap: u64, tail: &[u8]) {
        self.now += 10;
        let call = Bytes {
            bytes: (head.len() + tail.len()) as u64 + gap,
            tail,
            ..bytes(conn, role, direction, self.now, head)
        };
        if call.bytes > 0 {
            self.decoder.bytes(&call, &mut self.events);
        }
    }

    /// The connection ends.
    pub fn close(&mut self, conn: ConnId, reset: bool) {
        self.now += 1;
        let closed =
            Closed { ts_ns: self.now, conn, port: 80, reset, unaccepted: false, acked_ns: None };
        self.decoder.closed(closed);
    }

    /// The ring has been drained.
    pub fn drain(&mut self) {
        self.decoder.drained(&mut self.events);
    }

    /// The run ends. Every request has exactly one response event behind it, in order; no path has a query; times do
    /// not run backwards inside a response.
    pub fn finish(&mut self) -> Vec<String> {
        self.now += 1;
        self.decoder.finish(self.now, &mut self.events);
        let mut open: HashMap<ConnId, std::collections::VecDeque<&Request>> = HashMap::new();
        let mut told = Vec::new();
        for event in &self.events {
            match event {
                Event::Request(request) => {
                    assert!(!request.path.contains(['?', '#']), "a query was kept");
                    assert!(request.path.len() <= 256 && request.method.len() <= 32);
                    open.entry(request.conn).or_default().push_back(request);
                }
                Event::Response(response) => {
                    let waiting = open.get_mut(&response.conn).and_then(|waiting| waiting.pop_front());
                    let request = waiting.expect("a response without its request");
                    assert!(response.first_send_ns.is_none_or(|first| first <= response.last_send_ns));
                    if response.ending == Ending::Complete {
                        assert!(response.status >= 100, "complete without a status");
                    }
                    told.push(format!(
                        "{} {} {} {} {} {} {:?}",
                        response.conn,
                        request.method,
                        request.path,
                        request.bytes,
                        response.status,
                        response.bytes,
                        response.ending
                    ));
                }
                _ => {}
            }
        }
        assert!(open.values().all(|waiting| waiting.is_empty()), "a request without its end");
        told
    }
}
