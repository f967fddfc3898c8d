//! Tables of reads and writes, and the exact requests and responses that they are.

use proptest::prelude::*;

use super::*;
use crate::event::{Request, Response};
use crate::probes::bytes::Direction;

/// One connection under test; every call happens 10 ns after the one before and takes 1 ns.
pub(super) struct Script {
    pub(super) decoder: Decoder,
    role: Role,
    now: u64,
    pub(super) out: Vec<Event>,
}

impl Script {
    pub(super) fn new() -> Self {
        let mut decoder = Decoder::default();
        let mut accepted =
            Accepted { ts_ns: 1, conn: 7, pid: 1, port: 80, path: None, established_ns: Some(1), backlog: 1 };
        decoder.accepted(&mut accepted, &mut Vec::new());
        Self { decoder, role: Role::Server, now: 0, out: Vec::new() }
    }

    /// A connection that the tree made.
    pub(super) fn client(at: Place) -> Self {
        let mut decoder = Decoder::default();
        decoder.peer(1, Peer { conn: 7, role: Role::Client, at }, &mut Vec::new());
        Self { decoder, role: Role::Client, now: 0, out: Vec::new() }
    }

    /// A connection that is older than the attach.
    fn old() -> Self {
        Self { decoder: Decoder::default(), role: Role::Server, now: 0, out: Vec::new() }
    }

    pub(super) fn call<'a>(
        &mut self,
        direction: Direction,
        head: &'a [u8],
        bytes: u64,
        tail: &'a [u8],
    ) -> Bytes<'a> {
        self.now += 10;
        Bytes {
            direction,
            role: self.role,
            conn: 7,
            pid: 1,
            tid: 1,
            port: 80,
            enter_ns: Some(self.now - 1),
            exit_ns: self.now,
            arrival_ns: Some(self.now - 5),
            acked_ns: None,
            nonblocking: false,
            end_seq: None,
            bytes,
            head,
            tail,
        }
    }

    pub(super) fn reads(mut self, bytes: &[u8]) -> Self {
        let read = self.call(Direction::In, bytes, bytes.len() as u64, b"");
        self.decoder.bytes(&read, &mut self.out);
        self
    }

    pub(super) fn writes(mut self, bytes: &[u8]) -> Self {
        let write = self.call(Direction::Out, bytes, bytes.len() as u64, b"");
        self.decoder.bytes(&write, &mut self.out);
        self
    }

    pub(super) fn reads_gap(mut self, head: &[u8], total: u64, tail: &[u8]) -> Self {
        let read = self.call(Direction::In, head, total, tail);
        self.decoder.bytes(&read, &mut self.out);
        self
    }

    fn writes_gap(mut self, head: &[u8], total: u64, tail: &[u8]) -> Self {
        let write = self.call(Direction::Out, head, total, tail);
        self.decoder.bytes(&write, &mut self.out);
        self
    }

    pub(super) fn closes(self) -> Self {
        self.ends(false)
    }

    fn resets(self) -> Self {
        self.ends(true)
    }

    fn ends(mut self, reset: bool) -> Self {
        self.now += 10;
        self.decoder.closed(Closed {
            ts_ns: self.now,
            conn: 7,
            port: 80,
            reset,
            unaccepted: false,
            acked_ns: None,
        });
        self
    }

    /// Time passes: the ring is drained often enough for an end to take effect.
    pub(super) fn drains(mut self) -> Self {
        self.decoder.drained(&mut self.out);
        self.decoder.drained(&mut self.out);
        self
    }

    pub(super) fn finishes(mut self) -> Self {
        self.now += 10;
        self.decoder.finish(self.now, &mut self.out);
        self
    }

    /// One line per exchange: `METHOD path in_bytes status out_bytes ending first_read..last_send`.
    pub(super) fn told(&self) -> Vec<String> {
        let mut requests: VecDeque<&Request> = VecDeque::new();
        let mut lines = Vec::new();
        for event in &self.out {
            match event {
                Event::Request(request) => requests.push_back(request),
                Event::Response(Response { status, bytes, ending, last_send_ns, .. }) => {
                    let request = requests.pop_front().expect("a response without its request");
                    let Request { method, path, bytes: bytes_in, first_read_ns, .. } = request;
                    lines.push(format!(
                        "{method} {path} {bytes_in} {status} {bytes} {ending:?} {first_read_ns}..{last_send_ns}"
                    ));
                }
                Event::Closed(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(requests.is_empty(), "requests without an ending: {requests:?}");
        lines
    }

    pub(super) fn undecoded(&self) -> Vec<(Why, Undecoded)> {
        self.decoder.undecoded().map(|(_, why, undecoded)| (why, undecoded)).collect()
    }
}

pub(super) const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
pub(super) const OK5: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Head and body in two writes, as uvicorn does.
#[test]
fn head_and_body_in_two_writes() {
    let script =
        Script::new().reads(GET).writes(&OK5[..38]).writes(&OK5[38..]).reads(GET).writes(OK5).finishes();
    assert_eq!(script.told(), ["GET /a 19 200 43 Complete 10..30", "GET /a 19 200 43 Complete 40..50"]);
}

/// A request line cut anywhere, as granian's 24-byte first read does.
#[test]
fn split_head() {
    for cut in 1..GET.len() {
        let script = Script::new().reads(&GET[..cut]).reads(&GET[cut..]).writes(OK5).finishes();
        assert_eq!(script.told(), ["GET /a 19 200 43 Complete 10..30"], "cut at {cut}");
    }
}

/// Three requests in one read, three responses in one write.
#[test]
fn pipelined() {
    let script = Script::new().reads(&GET.repeat(3)).writes(&OK5.repeat(3)).finishes();
    assert_eq!(script.told(), ["GET /a 19 200 43 Complete 10..20"; 3]);
}

/// The tail of a body and the next request in one segment.
#[test]
fn body_tail_and_next_request() {
    let put = b"PUT /b HTTP/1.1\r\ncontent-length: 10\r\n\r\n12345";
    let script =
        Script::new().reads(put).reads(b"67890GET /a HTTP/1.1\r\n\r\n").writes(OK5).writes(OK5).finishes();
    assert_eq!(script.told(), ["PUT /b 49 200 43 Complete 10..30", "GET /a 19 200 43 Complete 20..40"]);
}

/// An interim response does not end the request.
#[test]
fn continue_first() {
    let post = b"POST /u HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let script = Script::new()
        .reads(post)
        .writes(b"HTTP/1.1 100 Continue\r\n\r\n")
        .reads(b"abc")
        .writes(OK5)
        .finishes();
    assert_eq!(script.told(), ["POST /u 64 200 68 Complete 10..40"]);
}

/// A streamed response ends with its last chunk, not with its head.
#[test]
fn chunked_response() {
    let script = Script::new()
        .reads(GET)
        .writes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .writes(b"5\r\nhello\r\n")
        .writes(b"0\r\n\r\n")
        .finishes();
    assert_eq!(script.told(), ["GET /a 19 200 62 Complete 10..40"]);
}

/// A large body of which only the ends are captured, sent in several calls.
#[test]
fn large_body() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n";
    let script = Script::new()
        .reads(GET)
        .writes(head)
        .writes_gap(b"x", 1_500_000, b"y")
        .writes_gap(b"x", 500_000, b"y");
    let script = script.finishes();
    assert_eq!(script.told(), ["GET /a 19 200 2000044 Complete 10..40"]);
}

/// HEAD, 204 and 304 have no body, whatever their headers say.
#[test]
fn bodyless() {
    let head = b"HEAD /a HTTP/1.1\r\n\r\n";
    let script = Script::new().reads(head).writes(&OK5[..38]).reads(GET).writes(OK5).finishes();
    assert_eq!(script.told().len(), 2);
}

/// A body without a length ends with the connection, and that is complete.
#[test]
fn until_close() {
    let script =
        Script::new().reads(GET).writes(b"HTTP/1.0 200 OK\r\n\r\nabc").writes(b"def").closes().drains();
    assert_eq!(script.told(), ["GET /a 19 200 25 Complete 10..30"]);
}

/// A connection that ends before the full response is an abort, at the time it ended.
#[test]
fn aborted() {
    let script = Script::new().reads(GET).closes().drains();
    assert_eq!(script.told(), ["GET /a 19 0 0 Aborted 10..20"]);
    let script = Script::new().reads(GET).writes(&OK5[..40]).closes().drains();
    assert_eq!(script.told(), ["GET /a 19 200 40 Aborted 10..30"]);
    let upload = b"POST /u HTTP/1.1\r\ncontent-length: 1000\r\n\r\nabc";
    let script = Script::new().reads(upload).closes().drains();
    assert_eq!(script.told(), ["POST /u 45 0 0 Aborted 10..20"]);
}

/// A body without a length that is torn down is not complete.
#[test]
fn until_reset() {
    let script = Script::new().reads(GET).writes(b"HTTP/1.0 200 OK\r\n\r\nabc").resets().drains();
    assert_eq!(script.told(), ["GET /a 19 200 22 Aborted 10..30"]);
}

/// The end of the connection overtakes the call that sent the response, or that read the request.
#[test]
fn an_end_that_comes_first() {
    let script = Script::new().reads(GET).resets().writes(OK5).drains();
    assert_eq!(script.told(), ["GET /a 19 200 43 Complete 10..30"]);
    let script = Script::new().resets().drains().reads(GET).drains();
    assert_eq!(script.told(), ["GET /a 19 0 0 Aborted 20..20"]);
    assert_eq!(script.decoder.conns.len(), 0);
    assert_eq!(script.undecoded(), []);
}

/// A chunked response whose size lines were out of sight ends at the latest where the next request begins.
#[test]
fn lost_chunks_do_not_swallow_the_next_response() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let script = Script::new().reads(GET).writes_gap(head, 9000, b"").reads(GET).writes(OK5).finishes();
    assert_eq!(script.told(), ["GET /a 19 200 9000 Complete 10..20", "GET /a 19 200 43 Complete 30..40"]);
}

/// A request that is open when the run ends is in flight, never a fast one.
#[test]
fn in_flight() {
    let script = Script::new().reads(GET).finishes();
    assert_eq!(script.told(), ["GET /a 19 0 0 InFlight 10..20"]);
}

/// A connection older than the attach is followed from its next request; the answer to the one before
/// belongs to nobody.
#[test]
fn older_than_the_attach() {
    let script =
        Script::old().writes(OK5).reads(b"rest of a body").writes(OK5).reads(GET).writes(OK5).finishes();
    assert_eq!(script.told(), ["GET /a 19 200 43 Complete 40..50"]);
    assert_eq!(script.undecoded(), []);
}

/// An older connection on which no request begins (a WebSocket, the rest of a download) is not seen, and said so.
#[test]
fn older_and_never_understood() {
    let script = Script::old().reads(b"\x81\x85....").writes(b"\x81\x02ok").finishes();
    assert_eq!(script.told(), Vec::<String>::new());
    assert_eq!(script.undecoded(), [(Why::Older, Undecoded { conns: 1, bytes: 10 })]);
    let silent = Script::old().closes().drains();
    assert_eq!(silent.undecoded(), []);
}

/// An answer before the body was read (413): the exchange ends, and the rest of the body is nothing new.
#[test]
fn early_answer() {
    let upload = b"POST /u HTTP/1.1\r\ncontent-length: 1000\r\n\r\nabc";
    let script = Script::new().reads(upload).writes(OK5).reads(b"defGET").reads(GET).writes(OK5).finishes();
    assert_eq!(script.told(), ["POST /u 45 200 43 Complete 10..20", "GET /a 19 200 43 Complete 40..50"]);
}

/// After 101 the connection leaves HTTP, and its bytes are counted as not decoded.
#[test]
fn upgrade() {
    let script = Script::new()
        .reads(b"GET /ws HTTP/1.1\r\nupgrade: websocket\r\n\r\n")
        .writes(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .reads(b"\x81\x85....")
        .writes(b"\x81\x02ok")
        .finishes();
    assert_eq!(script.told(), ["GET /ws 40 101 36 Complete 10..20"]);
    assert_eq!(script.undecoded(), [(Why::Upgraded, Undecoded { conns: 1, bytes: 10 })]);
}

/// TLS, HTTP/2 and garbage are named, not guessed at.
#[test]
fn other_protocols() {
    for (bytes, why) in [
        (&b"\x16\x03\x01\x02\x00"[..], Why::Tls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Why::Http2),
        (b"\x00\x01\x02", Why::Garbled),
    ] {
        let script = Script::new().reads(bytes).reads(bytes).finishes();
        assert_eq!(script.told(), Vec::<String>::new());
        assert_eq!(script.undecoded(), [(why, Undecoded { conns: 1, bytes: 2 * bytes.len() as u64 })]);
    }
}

/// A head that was not captured to its end still names its endpoint.
#[test]
fn head_longer_than_the_capture() {
    let mut script = Script::new();
    let line = b"GET /a HTTP/1.1\r\nCookie: aaaaaaaaaaaa";
    let read = script.call(Direction::In, line, 9000, b"");
    script.decoder.bytes(&read, &mut script.out);
    let script = script.writes(OK5).reads(GET).writes(OK5).finishes();
    assert_eq!(script.told(), ["GET /a 9000 200 43 Complete 10..20", "GET /a 19 200 43 Complete 30..40"]);
}

proptest! {
    /// Any cutting of the same traffic into reads and writes tells the same exchanges.
    #[test]
    fn cuts_do_not_matter(n in 1usize..5, cut_in in 1usize..60, cut_out in 1usize..60) {
        let put = b"PUT /b HTTP/1.1\r\ncontent-length: 10\r\n\r\n1234567890".as_slice();
        let chunked = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".as_slice();
        let stream = [GET, put, chunked].concat().repeat(n);
        let streamed = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n".as_slice();
        let answers = [OK5, streamed, OK5].concat().repeat(n);
        let mut script = Script::new();
        for piece in stream.chunks(cut_in) { script = script.reads(piece); }
        for piece in answers.chunks(cut_out) { script = script.writes(piece); }
        let script = script.finishes();
        let told: Vec<String> = script.told().iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        let one = ["GET /a 19 200 43 Complete", "PUT /b 49 200 61 Complete", "POST /c 61 200 43 Complete"];
        prop_assert_eq!(told, one.repeat(n));
    }

    /// Any bytes in any direction: no panic, every told request has one ending, and nothing is held afterwards.
    #[test]
    fn survives_anything(calls in prop::collection::vec((0u8..6, prop::collection::vec(any::<u8>(), 0..80), 0u64..5000), 0..30)) {
        let mut script = Script::new();
        for (call, bytes, extra) in &calls {
            script = match call {
                0 => script.reads(bytes),
                1 => script.writes(bytes),
                2 => script.reads(GET),
                3 => script.writes(OK5),
                4 => script.writes_gap(bytes, bytes.len() as u64 + extra, b""),
                _ => script.closes(),
            };
        }
        let script = script.finishes();
        script.told();
        prop_assert_eq!(script.decoder.held_bytes, 0);
    }
}
