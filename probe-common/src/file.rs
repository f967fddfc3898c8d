//! What names a file, for every room that meets files: its inode, and its path within its mount.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Names of one path that are walked; deeper ones are cut off at the root's end.
pub const MAX_COMPONENTS: usize = 24;
/// Room for one name and its NUL (`NAME_MAX` + 1).
pub const NAME_BYTES: usize = 256;
/// A name is only begun below this offset; what stands above it is cut off.
pub const NAMES_START_BELOW: usize = 512;
/// Room for all names.
pub const NAMES_BYTES: usize = NAMES_START_BELOW + NAME_BYTES;

/// The names end before the root of the mount: there are more than fit.
pub const PATH_CUT: u16 = 1 << 0;
/// The names end at a root that is not the mount's: an unnamed file, a deleted directory, a file of no file system.
pub const PATH_DETACHED: u16 = 1 << 1;

/// Tells files apart while the machine runs. An inode number alone is reused as soon as its file is deleted.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, Immutable, IntoBytes,
)]
pub struct FileId {
    /// Inode number.
    pub ino: u64,
    /// Device of the file system, as the kernel has it: major << 20 | minor. For btrfs and overlays this is not what
    /// stat tells.
    pub dev: u32,
    /// Number of the inode's present life.
    pub generation: u32,
}

/// What stands before the names of a path.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct PathHead {
    /// Id of the mount, as in `/proc/PID/mountinfo`.
    pub mount: u32,
    /// Bytes of names that follow.
    pub len: u16,
    /// `PATH_*` bits.
    pub flags: u16,
}

/// A path below its mount: names from the leaf to the root, each with a NUL behind it.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub struct PathRaw {
    /// The fixed part.
    pub head: PathHead,
    /// The names; only the first `head.len` bytes mean anything.
    pub names: [u8; NAMES_BYTES],
}

// SAFETY: `repr(C)`, only integers, no padding (8+4+4), so every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FileId {}

const _: () = {
    assert!(size_of::<FileId>() == 16);
    assert!(size_of::<PathHead>() == 8);
    assert!(size_of::<PathRaw>() == 8 + NAMES_BYTES);
};
