//! The file room: calls on regular files, what each open file was used for, names that changed, and markers.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    file::{FileId, PathRaw},
    header::Header,
    hist::Durations,
};

/// A call that took longer is sent up whatever its file is, nanoseconds.
pub const SLOW_CALL_NS: u64 = 50_000_000;
/// A write that was held back for less was not: the kernel makes nobody wait for less than a tick, nanoseconds.
pub const STALL_NS: u64 = 1_000_000;
/// Room for a path that the application gave, and its NUL.
pub const GIVEN_BYTES: usize = 512;
/// Most bytes of a write that begins like a marker.
pub const MARKER_BYTES: usize = 256;
/// Bits of the open flags that say reading (0) or writing (include/uapi/asm-generic/fcntl.h).
pub const O_ACCMODE: u32 = 3;
/// What a marker begins with.
pub const MARKER_PREFIX: [u8; 8] = *b"probe:st";

macro_rules! enumeration {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $id:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$item_doc])* $item),+ }

        impl $name {
            /// All of them, in index order.
            pub const ALL: &[Self] = &[$(Self::$item),+];

            /// The name in reports and recordings.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$item => $id),+ }
            }
        }
    };
}

enumeration! {
    /// What a file is for. User space decides it by the name, once, and tells the kernel side.
    Class {
        /// Not decided yet: every call is sent up.
        Unknown = "unknown",
        /// A SQLite database or its shared memory.
        Database = "database",
        /// A SQLite write-ahead log.
        Wal = "wal",
        /// A SQLite rollback journal.
        Journal = "journal",
        /// Matches a stage rule, or stands in a directory of one.
        Checkpoint = "checkpoint",
        /// A document that came in.
        Upload = "upload",
        /// A log file.
        Log = "log",
        /// Anything else.
        Other = "other",
    }
}

impl Class {
    /// What is written to these is told by the room of the database, or of no interest file by file.
    #[must_use]
    pub const fn is_summed_only(class: u32) -> bool {
        class == Self::Database as u32
            || class == Self::Wal as u32
            || class == Self::Journal as u32
            || class == Self::Log as u32
    }
}

enumeration! {
    /// The calls that are counted.
    Op {
        /// open, creat, openat, openat2
        Open = "open",
        /// read, pread64, readv, preadv, preadv2
        Read = "read",
        /// write, pwrite64, writev, pwritev, pwritev2, fallocate, and the target of copy_file_range
        Write = "write",
        /// fsync, fdatasync, sync_file_range
        Sync = "fsync",
        /// ftruncate
        Truncate = "truncate",
        /// close
        Close = "close",
        /// rename, renameat, renameat2
        Rename = "rename",
        /// link, linkat
        Link = "link",
        /// unlink, unlinkat
        Unlink = "unlink",
    }
}

/// Number of [`FileOpStats`]: class × op.
pub const N_FILE_OP_STATS: usize = Class::ALL.len() * Op::ALL.len();

/// Index of the statistics of a call.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "nine")]
pub const fn file_op_index(class: u32, op: u32) -> u32 {
    class * Op::ALL.len() as u32 + op
}

/// Written through a shared mapping, which no call shows.
pub const FILE_MAPPED: u32 = 1 << 0;
/// Open already when the run began, or inherited from a process outside the tree.
pub const FILE_OLDER: u32 = 1 << 1;
/// Its contents were told at a close since the last write.
pub const FILE_TOLD: u32 = 1 << 2;

/// What an open file was used for: the value of the `OPEN_FILES` map, keyed by the address of its `struct file`, so that
/// duplicates and inherited descriptors are one file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct OpenFile {
    /// Unique in a run; addresses are used again.
    pub id: u64,
    /// Address of its inode: tells it from what later stands at the same address.
    pub inode: u64,
    /// The file itself.
    pub file: FileId,
    /// The process that opened it, or wrote to it last.
    pub pid: u32,
    /// A [`Class`].
    pub class: u32,
    /// The flags of the open call.
    pub open_flags: u32,
    /// `FILE_*` bits.
    pub flags: u32,
    /// Entry of the open call, nanoseconds; 0 for an older one.
    pub opened_ns: u64,
    /// Time in the open call, nanoseconds.
    pub open_ns: u64,
    /// Calls that wrote, failed ones included.
    pub writes: u64,
    /// Time in them, nanoseconds.
    pub write_ns: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Calls that synced.
    pub syncs: u64,
    /// Time in them, nanoseconds.
    pub sync_ns: u64,
    /// Calls that read.
    pub reads: u64,
    /// Time in them, nanoseconds.
    pub read_ns: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Calls that failed.
    pub errors: u32,
    /// `errno` of the last of them.
    pub errno: u32,
    /// The process that opened it.
    pub opener: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// A file was opened, or was found open at its first use.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub struct OpenRaw {
    /// At the return of the call.
    pub header: Header,
    /// Entry of the call, nanoseconds; 0 for not seen.
    pub enter_ns: u64,
    /// Time of this thread in calls on files so far, nanoseconds.
    pub io_ns: u64,
    /// Key of the `OPEN_FILES` map.
    pub key: u64,
    /// See [`OpenFile::id`].
    pub id: u64,
    /// The file.
    pub file: FileId,
    /// The flags of the open call.
    pub open_flags: u32,
    /// `FILE_*` bits.
    pub flags: u32,
    /// A [`Class`].
    pub class: u32,
    /// Names that the file has.
    pub links: u32,
    /// Its name; the record ends after the last one.
    pub path: PathRaw,
}

/// One call on a file of which the class is not known yet, or that was slow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct CallRaw {
    /// At its return.
    pub header: Header,
    /// Entry, nanoseconds; 0 for not seen.
    pub enter_ns: u64,
    /// See [`OpenFile::id`].
    pub id: u64,
    /// The return value.
    pub ret: u64,
    /// An [`Op`].
    pub op: u32,
    /// A [`Class`]; when it is known, the call stands in the kernel's statistics already.
    pub class: u32,
}

/// A file was closed by the process that wrote it.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct CloseRaw {
    /// At the return of the call.
    pub header: Header,
    /// Entry of the call, nanoseconds.
    pub enter_ns: u64,
    /// As in [`OpenRaw`].
    pub io_ns: u64,
    /// What it was used for.
    pub open: OpenFile,
}

/// A name changed: rename, link, unlink.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub struct NameRaw {
    /// At the return of the call.
    pub header: Header,
    /// Entry of the call, nanoseconds.
    pub enter_ns: u64,
    /// As in [`OpenRaw`].
    pub io_ns: u64,
    /// 0, or an error below it.
    pub ret: i64,
    /// An [`Op`].
    pub op: u32,
    /// Length of `old` and `new`, without the NUL; [`GIVEN_BYTES`] - 1 for one that was cut. Two halves of 16 bits.
    pub given_len: u32,
    /// Where a relative `old` begins.
    pub old_dir: PathRaw,
    /// Where a relative `new` begins.
    pub new_dir: PathRaw,
    /// What the application gave.
    pub old: [u8; GIVEN_BYTES],
    /// The same; empty for unlink.
    pub new: [u8; GIVEN_BYTES],
}

/// A write that begins like a marker.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub struct MarkerRaw {
    /// At the entry of the call, where it was seen.
    pub header: Header,
    /// As in [`OpenRaw`].
    pub io_ns: u64,
    /// Bytes that follow.
    pub len: u64,
    /// The first of the write's.
    pub bytes: [u8; MARKER_BYTES],
}

/// Statistics of one kind of call on one class of files, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FileOpStats {
    /// Calls that returned while we watched.
    pub calls: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// How long they took.
    pub took: Durations,
}

// SAFETY: `repr(C)`, only integers, no padding (see the sizes below), so every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for OpenFile {}
// SAFETY: `repr(C)`, only `u64`: no padding, every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FileOpStats {}

const _: () = {
    assert!(size_of::<OpenFile>() == 144);
    assert!(size_of::<CallRaw>() == 56);
    assert!(size_of::<CloseRaw>() == 40 + 144);
    assert!(size_of::<FileOpStats>() <= 32 * 1024, "the kernel's limit for a per-CPU map value");
};
