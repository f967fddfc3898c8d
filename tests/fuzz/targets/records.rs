//! Any bytes in place of a record of the ring: every room decodes them to something or to an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use probe::probes::{file_io, process, socket, tls, wire};

fuzz_target!(|record: &[u8]| {
    let Ok(kind) = wire::kind_of(record) else { return };
    let _decoded = process::decode(kind, record);
    let _decoded = file_io::decode(kind, record);
    if let Ok(Some(socket::SocketEvent::Bytes(bytes))) = socket::decode(kind, record) {
        assert!(bytes.head.len() + bytes.tail.len() <= record.len());
    }
    if let Ok(Some(plain)) = tls::decode(kind, record) {
        assert!((plain.head.len() + plain.tail.len()) as u64 <= plain.bytes);
    }
});
