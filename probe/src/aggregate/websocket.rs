//! The numbers of the WebSockets of one route.

use serde::{Deserialize, Serialize};

use super::{Durations, Evidence, Resolution, Subject};
use crate::correlate::Seen;
use crate::profile::Metric;

/// The numbers of the WebSockets of one route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebSocketStats {
    /// Opened.
    pub connections: u64,
    /// Of these, in the place of one that had ended without a close frame.
    pub reconnects: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages to clients.
    pub messages_out: u64,
    /// Payload from clients, bytes as on the wire.
    pub bytes_in: u64,
    /// Payload to clients, bytes as on the wire.
    pub bytes_out: u64,
    /// From the last byte of a message sent to its acknowledgement, where that was seen.
    pub delivery: Durations,
    /// From a ping sent to its pong readable.
    pub ping_rtt: Durations,
    /// From a client's message readable to the server's next message sent.
    pub reply: Durations,
    /// Ended without a close frame, and none opened for them since.
    lost: u64,
}

impl Default for WebSocketStats {
    fn default() -> Self {
        Self {
            connections: 0,
            reconnects: 0,
            messages_in: 0,
            messages_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            delivery: Durations::new(Resolution::Fine),
            ping_rtt: Durations::new(Resolution::Fine),
            reply: Durations::new(Resolution::Fine),
            lost: 0,
        }
    }
}

impl WebSocketStats {
    /// Adds the numbers of the same route from elsewhere.
    pub(super) fn merge(&mut self, other: &Self) {
        let counts = [
            (&mut self.connections, other.connections),
            (&mut self.reconnects, other.reconnects),
            (&mut self.messages_in, other.messages_in),
            (&mut self.messages_out, other.messages_out),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.lost, other.lost),
        ];
        for (own, other) in counts {
            *own = own.saturating_add(other);
        }
        self.delivery.merge(&other.delivery);
        self.ping_rtt.merge(&other.ping_rtt);
        self.reply.merge(&other.reply);
    }

    pub(super) fn add(&mut self, seen: &Seen) {
        match seen {
            Seen::Opened => {
                self.connections += 1;
                if self.lost > 0 {
                    self.lost -= 1;
                    self.reconnects += 1;
                }
            }
            Seen::Ended { is_lost } => self.lost += u64::from(*is_lost),
            Seen::Message { inbound: true, bytes, .. } => {
                self.messages_in += 1;
                self.bytes_in = self.bytes_in.saturating_add(*bytes);
            }
            Seen::Message { inbound: false, bytes, reply_ns } => {
                self.messages_out += 1;
                self.bytes_out = self.bytes_out.saturating_add(*bytes);
                if let Some(reply_ns) = reply_ns {
                    self.reply.record(*reply_ns);
                }
            }
            Seen::Delivered(ns) => self.delivery.record(*ns),
            Seen::Pong(ns) => self.ping_rtt.record(*ns),
        }
    }
}

impl Subject for WebSocketStats {
    fn evidence(&self, metric: Metric) -> Option<Evidence<'_>> {
        let count = |count| Some(Evidence::Count { count, samples: self.connections });
        let durations = match metric.quantity.name {
            "delivery" => &self.delivery,
            "ping_rtt" => &self.ping_rtt,
            "reply" => &self.reply,
            "message_in_rate" => return count(self.messages_in),
            "message_out_rate" => return count(self.messages_out),
            "connections" => return count(self.connections),
            "reconnects" => return count(self.reconnects),
            _ => return None,
        };
        // Whether a message was answered or delivered is known of some only, and no statement about the others.
        Some(Evidence::Durations { durations, untimed: 0 })
    }
}
