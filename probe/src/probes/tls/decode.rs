//! Records of the tls room as typed values that borrow the captured bytes.

use probe_common::{header::Kind, tls::PlainHead};

use crate::{
    event::ConnId,
    probes::wire::{DecodeError, prefix},
};

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A step of a handshake; its last one where `bytes` is not 0.
    Handshake,
    /// Plain text was returned; of no bytes where no whole record was there.
    Read,
    /// Plain text was taken.
    Write,
}

/// One call of a TLS library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Which.
    pub call: Call,
    /// The process that called.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Address of the session object in that process.
    pub ssl: u64,
    /// The connection from which the calling thread last read.
    pub read_conn: Option<ConnId>,
    /// Entry of the call.
    pub enter_ns: u64,
    /// Return of the call.
    pub exit_ns: u64,
    /// Bytes of plain text: `head.len()`, then a gap that was not captured, then `tail.len()`.
    pub bytes: u64,
    /// The first of them.
    pub head: &'a [u8],
    /// The last of them, where the head does not hold everything.
    pub tail: Vec<u8>,
}

/// Decodes a record of this room; none for those of others.
pub fn decode(kind: Kind, record: &[u8]) -> Result<Option<Plain<'_>>, DecodeError> {
    let call = match kind {
        Kind::TlsHandshake => Call::Handshake,
        Kind::TlsRead => Call::Read,
        Kind::TlsWrite => Call::Write,
        _ => return Ok(None),
    };
    let (raw, bytes) = prefix::<PlainHead>(record)?;
    let short = DecodeError::Short(record.len());
    let head = bytes.get(..raw.head_len as usize).ok_or(short)?;
    let tail = raw.tail.get(raw.tail.len().wrapping_sub(raw.tail_len as usize)..).ok_or(short)?;
    if (head.len() + tail.len()) as u64 > raw.bytes {
        return Err(short);
    }
    Ok(Some(Plain {
        call,
        pid: raw.header.pid,
        tid: raw.header.tid,
        ssl: raw.ssl,
        read_conn: (raw.conn != 0).then_some(raw.conn),
        enter_ns: raw.enter_ns,
        exit_ns: raw.header.ts_ns,
        bytes: raw.bytes,
        head,
        tail: tail.to_vec(),
    }))
}
