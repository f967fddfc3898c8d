//! The tls room: what passes a TLS library as plain text.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::header::Header;

/// Most bytes of one call that are handed up where there are no more, or they begin like a request or a response.
pub const HEAD_CAPTURE: usize = 4096;
/// Bytes that are handed up of all other calls.
pub const BODY_CAPTURE: usize = 256;
/// Last bytes of a write that is longer than what is handed up of it.
pub const TAIL_CAPTURE: usize = 16;

/// One call of `SSL_read`, `SSL_write` or `SSL_do_handshake`, at its return.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct PlainHead {
    /// Who called, at the return.
    pub header: Header,
    /// Address of the library's session object: names a session as long as it lives.
    pub ssl: u64,
    /// Entry of the call, nanoseconds.
    pub enter_ns: u64,
    /// The connection from which this thread last read; 0 for none.
    pub conn: u64,
    /// Bytes of plain text; 0 for a read that found no whole record. Of a handshake 1 where it succeeded, else 0.
    pub bytes: u64,
    /// How many of the first of them follow.
    pub head_len: u32,
    /// How many of the last of them are in `tail`.
    pub tail_len: u32,
    /// The last bytes.
    pub tail: [u8; TAIL_CAPTURE],
}

/// A [`PlainHead`] with the first bytes; `N` is one of two sizes, of which only `head_len` bytes mean anything.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PlainRaw<const N: usize> {
    /// The fixed part.
    pub head: PlainHead,
    /// The bytes.
    pub bytes: [u8; N],
}

const _: () = assert!(size_of::<PlainHead>() == 80);
