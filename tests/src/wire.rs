//! Requests and responses, put together from captured segments. Pure.
//!
//! The clients of the tests never send a request before the response to the one before it, so a change of
//! direction on a connection is a boundary: no HTTP is parsed here but the request line, for its name.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::stats;

/// A request and its response on the wire. Nanoseconds of the wall clock.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `GET /hello`, without the query.
    pub name: String,
    /// The handshake was complete; on the first request of a connection whose handshake was captured.
    pub established_ns: Option<u64>,
    /// First payload byte of the request.
    pub start_ns: u64,
    /// Last payload byte of the response; none when no response came.
    pub end_ns: Option<u64>,
}

impl Exchange {
    /// First byte in to last byte out, in seconds.
    #[must_use]
    pub fn latency_s(&self) -> Option<f64> {
        Some((self.end_ns? - self.start_ns) as f64 / 1e9)
    }

    /// The same from the end of the handshake, where the request was the first.
    #[must_use]
    pub fn latency_from_handshake_s(&self) -> Option<f64> {
        let start = self.established_ns.unwrap_or(self.start_ns);
        Some((self.end_ns? - start) as f64 / 1e9)
    }
}

/// Everything on the wire, in the order of the requests.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Requests with their responses.
    pub exchanges: Vec<Exchange>,
    /// Handshakes seen to their ends.
    pub connections: u64,
    /// Of each segment with bytes from the server: seconds until the client had acknowledged it.
    pub deliveries: Vec<f64>,
}

impl Wire {
    /// Sorted latencies of the answered requests whose name begins like this.
    #[must_use]
    pub fn latencies(&self, name: &str) -> Vec<f64> {
        stats::sorted(self.named(name).filter_map(Exchange::latency_s))
    }

    /// The same, each connection's first request from the end of the handshake.
    #[must_use]
    pub fn latencies_from_handshake(&self, name: &str) -> Vec<f64> {
        stats::sorted(self.named(name).filter_map(Exchange::latency_from_handshake_s))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().filter(move |exchange| exchange.name.starts_with(name))
    }
}

/// A TCP segment. `begin` are the payload's first bytes, as far as they were captured.
#[derive(Clone, Debug)]
pub(crate) struct Segment<'a> {
    from: SocketAddr,
    to: SocketAddr,
    syn: bool,
    seq: u32,
    ack: u32,
    payload: u32,
    begin: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Of an Ethernet frame; none when it is no TCP.
    pub(crate) fn of(frame: &'a [u8]) -> Option<Self> {
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let (from, to, whole): (IpAddr, IpAddr, usize) = match packet.net? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let whole = usize::from(header.total_len()) - header.slice().len();
                (header.source_addr().into(), header.destination_addr().into(), whole)
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    header.payload_length().into(),
                )
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
        Some(Segment {
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            syn: tcp.syn(),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            payload: u32::try_from(whole.checked_sub(tcp.header_len())?).ok()?,
            begin: tcp.payload(),
        })
    }
}

#[derive(Debug, Default)]
struct Flow {
    syn_seen: bool,
    established_ns: Option<u64>,
    /// Index of the exchange that is going on.
    current: Option<usize>,
    /// Next sequence number from the client and from the server; none before the first segment.
    client_next: Option<u32>,
    server_next: Option<u32>,
    /// Ends of segments from the server that are not acknowledged, and when they went by.
    unacked: VecDeque<(u32, u64)>,
}

/// Puts exchanges together, segment by segment.
#[derive(Debug)]
pub(crate) struct Assembly {
    port: u16,
    flows: HashMap<SocketAddr, Flow>,
    /// What came so far.
    pub(crate) wire: Wire,
}

impl Assembly {
    /// For the server on this port.
    pub(crate) fn new(port: u16) -> Self {
        Self { port, flows: HashMap::new(), wire: Wire::default() }
    }

    /// Takes the next segment.
    pub(crate) fn add(&mut self, ns: u64, segment: &Segment<'_>) {
        let from_client = segment.to.port() == self.port;
        let client = if from_client { segment.from } else { segment.to };
        if from_client && segment.syn {
            let flow =
                Flow { syn_seen: true, client_next: Some(segment.seq.wrapping_add(1)), ..Flow::default() };
            self.flows.insert(client, flow);
            return;
        }
        let flow = self.flows.entry(client).or_default();
        if from_client && flow.syn_seen && flow.established_ns.is_none() {
            flow.established_ns = Some(ns);
            self.wire.connections += 1;
        }
        while from_client
            && let Some((end, sent_ns)) = flow.unacked.front().copied()
            && segment.ack.wrapping_sub(end).cast_signed() >= 0
        {
            flow.unacked.pop_front();
            self.wire.deliveries.push((ns - sent_ns) as f64 / 1e9);
        }
        let next = if from_client { &mut flow.client_next } else { &mut flow.server_next };
        let end = segment.seq.wrapping_add(segment.payload).wrapping_add(segment.syn.into());
        // A segment that was sent again brings nothing new.
        let new = next.is_none_or(|next| end.wrapping_sub(next).cast_signed() > 0);
        if segment.payload == 0 || !new {
            if segment.syn {
                *next = Some(end);
            }
            return;
        }
        *next = Some(end);
        if !from_client {
            flow.unacked.push_back((end, ns));
        }
        let answered = |at: usize| self.wire.exchanges[at].end_ns.is_some();
        match (from_client, flow.current) {
            (true, Some(at)) if !answered(at) => {}
            (true, current) => {
                self.wire.exchanges.push(Exchange {
                    name: name_of(segment.begin),
                    established_ns: flow.established_ns.filter(|_| current.is_none()),
                    start_ns: ns,
                    end_ns: None,
                });
                flow.current = Some(self.wire.exchanges.len() - 1);
            }
            (false, Some(at)) => self.wire.exchanges[at].end_ns = Some(ns),
            // The response to a request from before the capture.
            (false, None) => {}
        }
    }
}

fn name_of(begin: &[u8]) -> String {
    let line = begin.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default();
    format!("{method} {path}")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Assembly, Segment};

    fn segment(up: bool, seq: u32, payload: u32, syn: bool) -> Segment<'static> {
        let client: SocketAddr = "127.0.0.1:999".parse().unwrap();
        let server: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let (from, to) = if up { (client, server) } else { (server, client) };
        Segment { from, to, syn, seq, ack: 0, payload, begin: b"GET /x?y HTTP/1.1\r\n" }
    }

    /// A request in two segments and a response in two are one exchange, from the first byte to the last;
    /// a segment sent again moves neither end; the next request is an exchange of its own.
    #[test]
    fn direction_delimits() {
        let mut assembly = Assembly::new(80);
        for (ns, segment) in [
            (1, segment(true, 99, 0, true)),
            (2, segment(false, 499, 0, true)),
            (3, segment(true, 100, 0, false)),
            (10, segment(true, 100, 20, false)),
            (20, segment(true, 120, 5, false)),
            (21, segment(false, 500, 0, false)),
            (30, segment(false, 500, 70, false)),
            (40, segment(false, 570, 30, false)),
            (45, segment(false, 500, 70, false)),
            (50, segment(true, 125, 9, false)),
            (60, segment(false, 600, 1, false)),
            (70, segment(true, 134, 9, false)),
        ] {
            assembly.add(ns, &segment);
        }
        let wire = assembly.wire;
        assert_eq!(wire.connections, 1);
        let ends: Vec<_> =
            wire.exchanges.iter().map(|one| (one.established_ns, one.start_ns, one.end_ns)).collect();
        assert_eq!(ends, [(Some(3), 10, Some(40)), (None, 50, Some(60)), (None, 70, None)]);
        assert_eq!(wire.exchanges[0].name, "GET /x");
        assert_eq!(wire.latencies("GET /x").len(), 2);
    }
}
