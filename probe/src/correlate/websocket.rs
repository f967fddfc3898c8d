//! What the messages of a WebSocket mean: which route they belong to, and which message answers which.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Finding;
use crate::event::{CloseFrame, ConnId, Message, MessageAcked, Pong, Sample};

/// Something that happened on a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was opened.
    Opened,
    /// It ended.
    Ended {
        /// Without a close frame from either side.
        is_lost: bool,
    },
    /// A message was read or sent.
    Message {
        /// From the client.
        inbound: bool,
        /// Payload.
        bytes: u64,
        /// Of the first message of the server behind one of the client: from that one's first readable byte to this
        /// one's last byte sent.
        reply_ns: Option<u64>,
    },
    /// A message of the server was acknowledged, so long after it was sent.
    Delivered(u64),
    /// The client's pong became readable, so long after the ping was sent.
    Pong(u64),
}

/// A WebSocket that is open.
#[derive(Debug)]
struct Open {
    path: Arc<str>,
    /// The oldest message of the client since the last one of the server began to arrive.
    asked_ns: Option<u64>,
    has_close_frame: bool,
}

/// State over all WebSockets. Its size is bounded by those that are open.
#[derive(Debug, Default)]
pub(super) struct WebSockets {
    open: FxHashMap<ConnId, Open>,
}

impl WebSockets {
    pub(super) fn opened(&mut self, conn: ConnId, path: &str, out: &mut Vec<Finding>) {
        let path: Arc<str> = path.into();
        out.push(Finding::WebSocket(Arc::clone(&path), Seen::Opened));
        self.open.insert(conn, Open { path, asked_ns: None, has_close_frame: false });
    }

    pub(super) fn message(&mut self, message: &Message, out: &mut Vec<Finding>) {
        let Some(open) = self.open.get_mut(&message.conn) else { return };
        let mut reply_ns = None;
        if message.inbound {
            open.asked_ns = open.asked_ns.or(message.first_ns);
        } else if let Some(asked_ns) = open.asked_ns
            // Else it was on its way already.
            && message.first_ns.is_some_and(|first| first >= asked_ns)
        {
            open.asked_ns = None;
            reply_ns = Some(message.last_ns.saturating_sub(asked_ns));
        }
        let seen = Seen::Message { inbound: message.inbound, bytes: message.bytes, reply_ns };
        out.push(Finding::WebSocket(Arc::clone(&open.path), seen));
    }

    pub(super) fn acked(&self, acked: &MessageAcked, out: &mut Vec<Finding>) {
        let Some(open) = self.open.get(&acked.conn) else { return };
        let seen = Seen::Delivered(acked.acked_ns.saturating_sub(acked.sent_ns));
        out.push(Finding::WebSocket(Arc::clone(&open.path), seen));
    }

    pub(super) fn pong(&self, pong: &Pong, out: &mut Vec<Finding>) {
        let Some(open) = self.open.get(&pong.conn) else { return };
        let seen = Seen::Pong(pong.arrived_ns.saturating_sub(pong.sent_ns));
        out.push(Finding::WebSocket(Arc::clone(&open.path), seen));
    }

    pub(super) fn close_frame(&mut self, close: &CloseFrame) {
        if let Some(open) = self.open.get_mut(&close.conn) {
            open.has_close_frame = true;
        }
    }

    /// Forgets all others.
    pub(super) fn keep(&mut self, sample: Sample) {
        self.open.retain(|conn, _| sample.has(*conn));
    }

    pub(super) fn closed(&mut self, conn: ConnId, out: &mut Vec<Finding>) {
        let Some(open) = self.open.remove(&conn) else { return };
        out.push(Finding::WebSocket(open.path, Seen::Ended { is_lost: !open.has_close_frame }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(inbound: bool, first_ns: u64, last_ns: u64) -> Message {
        Message { conn: 1, inbound, bytes: 5, first_ns: Some(first_ns), last_ns }
    }

    /// A reply counts from the oldest question, once; what the server says unasked is no reply, nor what it had begun.
    #[test]
    fn replies() {
        let mut sockets = WebSockets::default();
        let mut out = Vec::new();
        sockets.opened(1, "/ws", &mut out);
        for message in [
            message(false, 10, 11),
            message(true, 20, 25),
            message(true, 30, 31),
            message(false, 15, 40),
            message(false, 41, 50),
            message(false, 60, 61),
        ] {
            sockets.message(&message, &mut out);
        }
        let replies: Vec<_> = out
            .iter()
            .filter_map(|finding| match finding {
                Finding::WebSocket(_, Seen::Message { reply_ns, .. }) => Some(*reply_ns),
                _ => None,
            })
            .collect();
        assert_eq!(replies, [None, None, None, None, Some(30), None]);
        sockets.closed(1, &mut out);
        assert_eq!(out.last(), Some(&Finding::WebSocket("/ws".into(), Seen::Ended { is_lost: true })));
    }
}
