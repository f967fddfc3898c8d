//! Pairs requests with their responses and splits a request's latency into its parts.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{Exchange, Finding, Timing, websocket::WebSockets};
use crate::event::{Accepted, Closed, ConnId, Ending, Event, Request, Response, Sample, Unconnected};

/// State over all connections. Its size is bounded by the connections that are open.
#[derive(Debug, Default)]
pub struct Correlator {
    conns: FxHashMap<ConnId, Conn>,
    websockets: WebSockets,
}

/// What is known of a connection.
#[derive(Debug, Default)]
struct Conn {
    /// Handshake and return of accept; only until the first request has used it.
    accept: Option<(Option<u64>, u64)>,
    waiting: VecDeque<Request>,
    /// The newest complete response, until its delivery is seen: method, path, last byte sent.
    undelivered: Option<(String, String, u64)>,
}

impl Correlator {
    /// Takes an event; what follows from it is appended to `out`.
    pub fn event(&mut self, event: &Event, out: &mut Vec<Finding>) {
        match event {
            Event::Accepted(accepted) => self.accepted(accepted, out),
            Event::Request(request) => self.request(request, out),
            Event::Response(response) => self.response(response, out),
            Event::Closed(closed) => self.closed(closed, out),
            Event::Unconnected(Unconnected { to, why, .. }) => {
                out.push(Finding::Unconnected { to: to.clone(), why: *why });
            }
            Event::Gpu(gpu) => out.push(Finding::Gpu(gpu.clone())),
            Event::Resources(look) => out.push(Finding::Resources(look.clone())),
            Event::Message(message) => self.websockets.message(message, out),
            Event::MessageAcked(acked) => self.websockets.acked(acked, out),
            Event::Pong(pong) => self.websockets.pong(pong, out),
            Event::CloseFrame(close) => self.websockets.close_frame(close),
            Event::StepDown(step) => self.keep(step.sample()),
            _ => {}
        }
    }

    /// Ends the run. A recording of a run that was killed may hold requests without any response event.
    pub fn finish(&mut self, end_ns: u64, out: &mut Vec<Finding>) {
        let mut open: Vec<_> = std::mem::take(&mut self.conns).into_iter().collect();
        open.sort_by_key(|(id, _)| *id);
        for (id, mut conn) in open {
            while let Some(request) = conn.waiting.pop_front() {
                let response = Response {
                    conn: id,
                    status: 0,
                    first_send_ns: None,
                    last_send_ns: end_ns,
                    bytes: 0,
                    ending: Ending::InFlight,
                };
                out.push(Finding::Exchange(exchange(request, &response, None)));
            }
        }
    }

    /// Forgets all other connections: how their requests will end is not seen, so that they neither end nor were begun.
    fn keep(&mut self, sample: Sample) {
        self.conns.retain(|conn, _| sample.has(*conn));
        self.websockets.keep(sample);
    }

    fn accepted(&mut self, accepted: &Accepted, out: &mut Vec<Finding>) {
        out.push(Finding::Accept {
            port: accepted.port,
            path: accepted.path.clone(),
            queue_wait_ns: accepted
                .established_ns
                .map(|established| accepted.ts_ns.saturating_sub(established)),
            backlog: accepted.backlog,
        });
        self.conns.entry(accepted.conn).or_default().accept = Some((accepted.established_ns, accepted.ts_ns));
    }

    fn request(&mut self, request: &Request, out: &mut Vec<Finding>) {
        let conn = self.conns.entry(request.conn).or_default();
        delivered(&mut conn.undelivered, request.acked_ns, out);
        conn.waiting.push_back(request.clone());
    }

    fn response(&mut self, response: &Response, out: &mut Vec<Finding>) {
        let Some(conn) = self.conns.get_mut(&response.conn) else { return };
        let Some(request) = conn.waiting.pop_front() else { return };
        let accept = conn.accept.take();
        if response.ending == Ending::Complete && request.outgoing.is_none() {
            conn.undelivered = Some((request.method.clone(), request.path.clone(), response.last_send_ns));
        }
        if response.status == 101 && response.ending == Ending::Complete && request.outgoing.is_none() {
            self.websockets.opened(response.conn, &request.path, out);
        }
        out.push(Finding::Exchange(exchange(request, response, accept)));
    }

    fn closed(&mut self, closed: &Closed, out: &mut Vec<Finding>) {
        if closed.unaccepted {
            out.push(Finding::Abandoned { port: closed.port });
        }
        self.websockets.closed(closed.conn, out);
        let Some(mut conn) = self.conns.remove(&closed.conn) else { return };
        delivered(&mut conn.undelivered, closed.acked_ns, out);
    }
}

/// Everything that was sent had reached the peer at `acked_ns`.
fn delivered(undelivered: &mut Option<(String, String, u64)>, acked_ns: Option<u64>, out: &mut Vec<Finding>) {
    let Some((method, path, sent_ns)) = undelivered.take() else { return };
    if let Some(acked_ns) = acked_ns {
        // On loopback the peer acknowledges inside the sending call, before its last byte counts as sent.
        out.push(Finding::Delivery { method, path, delivery_ns: acked_ns.saturating_sub(sent_ns) });
    }
}

fn exchange(request: Request, response: &Response, accept: Option<(Option<u64>, u64)>) -> Exchange {
    Exchange {
        timing: timing(&request, response, accept),
        outgoing: request.outgoing,
        method: request.method,
        path: request.path,
        pid: request.pid,
        status: response.status,
        ending: response.ending,
        end_ns: response.last_send_ns,
        bytes_in: request.bytes,
        bytes_out: response.bytes,
    }
}

/// Splits the time from the first readable byte to the last byte sent.
///
/// The parts are cut from one line, each at or behind the one before, so they add up to the latency even
/// where a server answers before it has read the whole request.
fn timing(request: &Request, response: &Response, accept: Option<(Option<u64>, u64)>) -> Option<Timing> {
    let accepted_ns = accept.map(|(_, accepted)| accepted);
    // Bytes that came with the handshake were readable from its end on.
    let start = request.arrival_ns.or_else(|| accept.and_then(|(established, _)| established))?;
    let accepted = start.max(accepted_ns.unwrap_or(start));
    let first_read = accepted.max(request.first_read_ns);
    let first_send = response.first_send_ns.unwrap_or(response.last_send_ns);
    let last_read = first_read.max(request.last_read_ns.min(first_send));
    let first_send = last_read.max(first_send);
    let end = first_send.max(response.last_send_ns);
    Some(Timing {
        accept_queue_ns: accepted - start,
        receive_queue_ns: first_read - accepted,
        read_ns: last_read - first_read,
        app_ns: first_send - last_read,
        write_ns: end - first_send,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{GivenUp, StepDown};

    fn request(arrival_ns: Option<u64>, first_read_ns: u64, last_read_ns: u64) -> Request {
        Request {
            conn: 1,
            pid: 1,
            tid: 1,
            port: 80,
            outgoing: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            arrival_ns,
            first_read_ns,
            last_read_ns,
            bytes: 10,
            complete: true,
            acked_ns: None,
        }
    }

    fn response(first_send_ns: u64, last_send_ns: u64) -> Response {
        Response {
            conn: 1,
            status: 200,
            first_send_ns: Some(first_send_ns),
            last_send_ns,
            bytes: 20,
            ending: Ending::Complete,
        }
    }

    fn accepted(established_ns: Option<u64>, ts_ns: u64) -> Event {
        Event::Accepted(Accepted { ts_ns, conn: 1, pid: 1, port: 80, path: None, established_ns, backlog: 1 })
    }

    fn run(events: &[Event]) -> Vec<Finding> {
        let mut correlator = Correlator::default();
        let mut out = Vec::new();
        for event in events {
            correlator.event(event, &mut out);
        }
        correlator.finish(10_000, &mut out);
        out
    }

    fn timings(findings: &[Finding]) -> Vec<Option<Timing>> {
        let timing = |finding: &Finding| match finding {
            Finding::Exchange(exchange) => Some(exchange.timing),
            _ => None,
        };
        findings.iter().filter_map(timing).collect()
    }

    /// A request that waited for accept, then for the read; the next one only for the read.
    #[test]
    fn waits_are_told_apart() {
        let found = run(&[
            accepted(Some(100), 600),
            Event::Request(request(Some(150), 700, 800)),
            Event::Response(response(900, 950)),
            Event::Request(request(Some(1000), 1600, 1600)),
            Event::Response(response(1700, 1700)),
        ]);
        assert_eq!(
            timings(&found),
            [
                Some(Timing {
                    accept_queue_ns: 450,
                    receive_queue_ns: 100,
                    read_ns: 100,
                    app_ns: 100,
                    write_ns: 50
                }),
                Some(Timing {
                    accept_queue_ns: 0,
                    receive_queue_ns: 600,
                    read_ns: 0,
                    app_ns: 100,
                    write_ns: 0
                }),
            ]
        );
        assert!(found.contains(&Finding::Accept {
            port: 80,
            path: None,
            queue_wait_ns: Some(500),
            backlog: 1
        }));
    }

    /// Bytes that came with the handshake count from its end; without any start there is no time.
    #[test]
    fn unknown_starts() {
        let handshake = run(&[
            accepted(Some(100), 600),
            Event::Request(request(None, 700, 700)),
            Event::Response(response(900, 900)),
        ]);
        assert_eq!(timings(&handshake)[0].map(|timing| timing.latency_ns()), Some(800));
        let older = run(&[Event::Request(request(None, 700, 700)), Event::Response(response(900, 900))]);
        assert_eq!(timings(&older), [None]);
    }

    /// A delivery is the time from the last byte sent to its acknowledgement, seen with the next request.
    #[test]
    fn delivery() {
        let next = Request { acked_ns: Some(1250), ..request(Some(2000), 2000, 2000) };
        let found = run(&[
            Event::Request(request(Some(1), 2, 2)),
            Event::Response(response(900, 1000)),
            Event::Request(next),
        ]);
        let delivery = Finding::Delivery { method: "GET".to_owned(), path: "/".to_owned(), delivery_ns: 250 };
        assert!(found.contains(&delivery), "{found:?}");
    }

    /// A request that nothing answered is in flight at the end, not lost.
    #[test]
    fn unanswered() {
        let found = run(&[Event::Request(request(Some(1), 2, 2))]);
        assert!(matches!(
            &found[..],
            [Finding::Exchange(Exchange { ending: Ending::InFlight, status: 0, .. })]
        ));
    }

    /// A request on a connection that is followed no longer was none: not in flight at the end, not aborted.
    #[test]
    fn outside_the_sample() {
        let step = |one_in| {
            let what = GivenUp::Connections(Sample { one_in });
            Event::StepDown(StepDown { ts_ns: 3, what, cost_before: 0.0 })
        };
        let begun = Event::Request(request(Some(1), 2, 2));
        let closed = Closed { ts_ns: 9, conn: 1, port: 80, reset: true, unaccepted: false, acked_ns: None };
        assert!(Sample { one_in: 2 }.has(1) && !Sample { one_in: 4 }.has(1));
        assert_eq!(run(&[begun.clone(), step(2)]).len(), 1);
        assert_eq!(run(&[begun.clone(), step(2), step(4)]), []);
        assert_eq!(run(&[begun, step(4), Event::Closed(closed)]), []);
    }

    proptest! {
        /// Whatever the time stamps, the parts add up to the latency, and nothing is negative.
        #[test]
        fn parts_add_up(a in 0u64..100, b in 0u64..100, c in 0u64..100, d in 0u64..100, e in 0u64..100, f in 0u64..100) {
            let found = timing(&request(Some(a), b, c), &response(d, e), Some((Some(f), f))).unwrap();
            let end = a.max(f).max(b).max(d).max(e);
            prop_assert_eq!(found.latency_ns(), end - a);
        }
    }
}
