//! The block room: requests of block devices, by device and kind.

use crate::hist::Durations;

/// Devices whose requests are timed.
pub const MAX_DEVICES: usize = 16;

/// Kinds of requests.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Bytes to memory.
    Read = 0,
    /// Bytes to the device.
    Write = 1,
    /// What the device holds back is to be written down.
    Flush = 2,
    /// Blocks are given back.
    Discard = 3,
}

impl RequestKind {
    /// All of them, in index order.
    pub const ALL: &[Self] = &[Self::Read, Self::Write, Self::Flush, Self::Discard];

    /// The name in reports and recordings.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
        }
    }
}

/// Number of [`RequestStats`]: device × kind.
pub const N_REQUEST_STATS: usize = MAX_DEVICES * RequestKind::ALL.len();

/// Index of the statistics of a kind of requests of the device in this slot.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "four")]
pub const fn request_index(slot: u32, kind: RequestKind) -> u32 {
    slot * RequestKind::ALL.len() as u32 + kind as u32
}

/// Statistics of one kind of requests of one device, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RequestStats {
    /// Requests that ended while we watched.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// From the making of a request to its end.
    pub took: Durations,
    /// Of that, until it was given to the device; only those of which that was seen.
    pub queued: Durations,
}

// SAFETY: `repr(C)`, only `u64`: no padding, every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for RequestStats {}

const _: () = assert!(size_of::<RequestStats>() <= 32 * 1024, "the kernel's limit for a per-CPU map value");
