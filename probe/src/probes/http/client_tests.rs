//! Connections that the tree made: requests are written, responses are read.

use super::tests::{GET, OK5, Script};
use super::*;
use crate::event::Request;

fn net() -> Place {
    Place::Net("192.0.2.1:8080".parse().unwrap())
}

fn hosts(script: &Script) -> Vec<Option<&str>> {
    let host = |event| match event {
        &Event::Request(Request { ref outgoing, .. }) => Some(outgoing.as_deref()),
        _ => None,
    };
    script.out.iter().filter_map(host).collect()
}

/// From the entry of the first send to the return of the last read, by the name that the head says.
#[test]
fn a_call() {
    let ask = b"POST /a?key=1 HTTP/1.1\r\nHost: api.test\r\ncontent-length: 3\r\n\r\n";
    let script = Script::client(net())
        .writes(ask)
        .writes(b"abc")
        .reads(b"HTTP/1.1 100 Continue\r\n\r\n")
        .reads(&OK5[..20])
        .reads(&OK5[20..])
        .finishes();
    assert_eq!(script.told(), ["POST /a 64 200 68 Complete 9..50"]);
    assert_eq!(hosts(&script), [Some("api.test:8080")]);
}

/// Without a name it is the address, on a Unix-domain socket always the path.
#[test]
fn names() {
    let script = Script::client(net()).writes(GET).reads(OK5).finishes();
    assert_eq!(hosts(&script), [Some("192.0.2.1:8080")]);
    let ask = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let script = Script::client(Place::Path("/run/a".to_owned())).writes(ask).reads(OK5).finishes();
    assert_eq!(hosts(&script), [Some("unix:/run/a")]);
}

/// Closed before the answer: aborted; still open: in flight.
#[test]
fn without_an_answer() {
    let script = Script::client(net()).writes(GET).closes().drains();
    assert_eq!(script.told(), ["GET /a 19 0 0 Aborted 9..20"]);
    let script = Script::client(net()).writes(GET).reads(&OK5[..40]).finishes();
    assert_eq!(script.told(), ["GET /a 19 200 40 InFlight 9..30"]);
}

/// Through a proxy's tunnel nothing is followed, and that is told.
#[test]
fn a_tunnel() {
    let script = Script::client(net())
        .writes(b"CONNECT api.test:443 HTTP/1.1\r\n\r\n")
        .reads(b"HTTP/1.1 200 OK\r\n\r\n")
        .writes(b"\x16\x03\x01....")
        .finishes();
    assert_eq!(hosts(&script), [Some("api.test:443")]);
    assert_eq!(script.undecoded(), [(Why::Upgraded, Undecoded { conns: 1, bytes: 7 })]);
}

/// TLS is counted as such, in both directions.
#[test]
fn encrypted() {
    let script = Script::client(net()).writes(b"\x16\x03\x01\x00").reads(b"\x16\x03\x03\x00").finishes();
    assert_eq!(script.told(), Vec::<String>::new());
    assert_eq!(script.undecoded(), [(Why::Tls, Undecoded { conns: 1, bytes: 8 })]);
}

/// An address is known by the name that the newest request to it bore.
#[test]
fn addresses_get_names() {
    let ask = b"GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";
    let script = Script::client(net()).writes(ask).reads(OK5);
    assert_eq!(script.decoder.host_at("192.0.2.1:8080"), Some("api.test:8080"));
    assert_eq!(script.decoder.host_at("192.0.2.1:8081"), None);
}
