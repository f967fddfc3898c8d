//! From ring records to typed ones: the one place that looks at raw bytes of the kernel side.

use probe_common::header::{Header, Kind};
use zerocopy::FromBytes;

/// Why a record cannot be decoded: the two sides do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its kind says.
    #[error("a record of {0} bytes is too short for its kind")]
    Short(usize),
    /// A kind that this build does not know.
    #[error("unknown record kind {0}")]
    Kind(u32),
}

/// The head of a record.
pub fn header_of(record: &[u8]) -> Result<Header, DecodeError> {
    Ok(prefix(record)?.0)
}

/// The kind of a record.
pub fn kind_of(record: &[u8]) -> Result<Kind, DecodeError> {
    let header = header_of(record)?;
    Kind::from_u32(header.kind).ok_or(DecodeError::Kind(header.kind))
}

/// The fixed part of a record, and what follows it.
pub fn prefix<T: FromBytes>(record: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(record).map_err(|_| DecodeError::Short(record.len()))
}

/// A kernel time stamp, where 0 means that there is none.
pub const fn stamp(ns: u64) -> Option<u64> {
    if ns == 0 { None } else { Some(ns) }
}
