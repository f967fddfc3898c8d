//! The sqlite room: byte-range locks on the files of a database, and the sleeps between two attempts at one.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::file::{FileId, PathRaw};
use crate::header::Header;

/// `PENDING_BYTE` of SQLite's file format: the locks of the rollback modes begin here.
pub const PENDING_BYTE: u64 = 0x4000_0000;
/// The byte behind it.
pub const RESERVED_BYTE: u64 = PENDING_BYTE + 1;
/// First byte of the range that readers lock; a writer locks all of it.
pub const SHARED_FIRST: u64 = PENDING_BYTE + 2;
/// Length of that range.
pub const SHARED_SIZE: u64 = 510;
/// First lock byte of a `-shm` file: `WAL_WRITE_LOCK`.
pub const SHM_FIRST: u64 = 120;
/// The one of who makes a checkpoint: `WAL_CKPT_LOCK`.
pub const CKPT_BYTE: u64 = 121;
/// Last one: the "dead man switch".
pub const SHM_LAST: u64 = 128;
/// End of a range to the end of the file (`OFFSET_MAX`).
pub const TO_THE_END: u64 = i64::MAX as u64;

/// Words of the sleeping thread's stack that are handed up: enough to hold the return address into whoever called the C
/// library.
pub const STACK_WORDS: usize = 48;

/// Multiples of this are what SQLite asks for when it waits for a lock, nanoseconds.
pub const SLEEP_UNIT_NS: u64 = 1_000_000;
/// It never asks for longer (and only builds without a fine sleep for that long), nanoseconds.
pub const SLEEP_MAX_NS: u64 = 1_000_000_000;

/// The thread is one of the traced tree.
pub const LOCK_TRACED: u32 = 1 << 0;

/// `F_RDLCK`, `F_WRLCK`, `F_UNLCK` (include/uapi/asm-generic/fcntl.h).
pub const F_RDLCK: u32 = 0;
/// See [`F_RDLCK`].
pub const F_WRLCK: u32 = 1;
/// See [`F_RDLCK`].
pub const F_UNLCK: u32 = 2;

/// Whether a range can be one of SQLite's locks: a file of its own, to be told from others by its name.
#[inline(always)]
#[must_use]
pub const fn is_lock_range(start: u64, end: u64) -> bool {
    (start >= PENDING_BYTE && end < SHARED_FIRST + SHARED_SIZE) || (start >= SHM_FIRST && end <= SHM_LAST)
}

/// A lock of a watched file was granted, refused or given back.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct LockRaw {
    /// Who asked.
    pub header: Header,
    /// The file.
    pub file: FileId,
    /// First byte of the range; neighbours of one owner and kind are merged by the kernel.
    pub start: u64,
    /// Last byte of it.
    pub end: u64,
    /// [`F_RDLCK`], [`F_WRLCK`] or [`F_UNLCK`].
    pub kind: u32,
    /// 0, or a negative error number.
    pub ret: i32,
    /// `LOCK_*` bits.
    pub flags: u32,
    /// No implicit padding.
    pub reserved: u32,
    /// Name of the thread, NUL padded.
    pub comm: [u8; 16],
    /// The statement that the thread executed; see [`SqlHead::sql`].
    pub sql: u64,
}

/// A file that is watched from now on; comes before its first lock.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub struct FileRaw {
    /// Who locked it first.
    pub header: Header,
    /// The file.
    pub file: FileId,
    /// Where it was opened.
    pub path: PathRaw,
}

/// A thread of the tree came back from a sleep of whole milliseconds, of the kind that SQLite makes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct SleepRaw {
    /// Who slept, and its end.
    pub header: Header,
    /// Its begin, nanoseconds.
    pub enter_ns: u64,
    /// What was asked for, nanoseconds.
    pub requested_ns: u64,
    /// The statement that the thread executes; see [`SqlHead::sql`].
    pub sql: u64,
    /// The thread's stack, from its top on; zeroes where it could not be read.
    pub stack: [u64; STACK_WORDS],
}

/// Bytes of a statement's text that are looked at.
pub const SQL_CAPTURE: usize = 1024;

/// The text of a statement, once for each text.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct SqlHead {
    /// Who prepared it first.
    pub header: Header,
    /// Names the text in other records: a hash of what was captured, never 0.
    pub sql: u64,
    /// Bytes that were captured, up to [`SQL_CAPTURE`].
    pub len: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// As it lies in the ring.
#[repr(C)]
#[derive(Clone, Copy, Immutable, IntoBytes)]
pub struct SqlRaw {
    /// What it is about.
    pub head: SqlHead,
    /// The text; garbage behind its length.
    pub text: [u64; SQL_CAPTURE / 8],
}

/// The outermost call of a thread that is inside SQLite. Kept by the kernel side; user space forgets threads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Inside {
    /// The stack pointer at its entry.
    pub stack: u64,
    /// Its entry, nanoseconds.
    pub enter_ns: u64,
    /// Hash of the statement's text; 0 when it is not known.
    pub sql: u64,
    /// The connection's address.
    pub connection: u64,
    /// The statement's address; for a preparation, where it will be written.
    pub statement: u64,
    /// The address of a text that could not be read at the entry: a constant of the program is not in memory before
    /// somebody looks at it. 0 for none.
    pub unread: u64,
    /// Its length, bytes; negative where a NUL ends it.
    pub unread_len: i64,
}

// SAFETY: `repr(C)`, only 64-bit integers, so every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Inside {}

/// An execution of a statement is over, or it could not be prepared.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct StatementRaw {
    /// Who executed it, and the end.
    pub header: Header,
    /// Its begin, nanoseconds.
    pub enter_ns: u64,
    /// Time inside SQLite, preparation included where it came just before, nanoseconds.
    pub busy_ns: u64,
    /// See [`SqlHead::sql`]; 0 where the statement is older than our view.
    pub sql: u64,
    /// The connection, as an address of the process; 0 where it is not known.
    pub connection: u64,
    /// Rows that it returned.
    pub rows: u32,
    /// SQLite's result code: 101 done, 100 left before the end, others failed.
    pub code: i32,
}

/// A thread waited on a futex inside SQLite: for the mutex of a connection that another one uses.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct MutexRaw {
    /// Who waited, and the end.
    pub header: Header,
    /// Its begin, nanoseconds.
    pub enter_ns: u64,
    /// See [`SqlHead::sql`].
    pub sql: u64,
    /// See [`StatementRaw::connection`].
    pub connection: u64,
}

/// A checkpoint of a WAL is over; comes just before the lock of its thread is given back.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct CheckpointRaw {
    /// Who made it, and its end.
    pub header: Header,
    /// Writing calls: one for each page.
    pub pages: u64,
    /// Bytes that they wrote.
    pub bytes: u64,
    /// Syncing calls.
    pub syncs: u64,
    /// Time inside them, nanoseconds.
    pub sync_ns: u64,
    /// The statement that made it; see [`SqlHead::sql`].
    pub sql: u64,
}

const _: () = {
    assert!(size_of::<LockRaw>() == 96);
    assert!(size_of::<SqlRaw>() == 40 + SQL_CAPTURE);
    assert!(size_of::<StatementRaw>() == 64);
    assert!(size_of::<MutexRaw>() == 48);
    assert!(size_of::<CheckpointRaw>() == 64);
    assert!(size_of::<FileRaw>() == 40 + size_of::<PathRaw>());
    assert!(size_of::<SleepRaw>() == 48 + 8 * STACK_WORDS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_sqlite() {
        for (start, end) in [(0x4000_0000, 0x4000_0000), (0x4000_0002, 0x4000_01ff), (120, 120), (124, 127)] {
            assert!(is_lock_range(start, end), "{start:#x}..={end:#x}");
        }
        for (start, end) in [(0, TO_THE_END), (0, 0), (0x4000_0000, TO_THE_END), (119, 120), (120, 129)] {
            assert!(!is_lock_range(start, end), "{start:#x}..={end:#x}");
        }
    }
}
