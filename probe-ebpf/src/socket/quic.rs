//! QUIC: only recognised, so that a report can say what it does not see. Handshakes bear long headers (RFC 9000,
//! 17.2; RFC 8999, 5.1), which plain UDP hardly ever looks like.

use aya_ebpf::{macros::map, maps::HashMap};

use super::capture;
use crate::shared::{fdio::Buffer, kern};

/// Datagrams with a long header and a known version, by local UDP port. A hash map because ports are few; a lost count
/// between two processors changes nothing.
#[map]
static QUIC: HashMap<u32, u64> = HashMap::with_max_entries(64, 0);

/// QUIC version 1 and 2 (RFC 9000, RFC 9369).
const VERSIONS: [u32; 2] = [1, 0x6b33_43cf];

/// Form, version, and the lengths of two connection ids.
const LONG_HEADER_BYTES: i64 = 7;

/// A datagram of so many bytes was received.
#[inline(always)]
pub(crate) fn look(sk: u64, buffer: Buffer, len: i64) -> Option<()> {
    if len < LONG_HEADER_BYTES {
        return None;
    }
    let (first, version) = capture::first_byte_and_word(buffer)?;
    // Header form and fixed bit.
    if first & 0xc0 != 0xc0 || (version != VERSIONS[0] && version != VERSIONS[1]) {
        return None;
    }
    let port = u32::from(kern::local_port(sk)?);
    if let Some(count) = QUIC.get_ptr_mut(port) {
        // SAFETY: a valid map value; see `QUIC`.
        unsafe { *count += 1 };
    } else {
        let _ = QUIC.insert(port, 1, 0);
    }
    Some(())
}
