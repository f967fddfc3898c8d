//! Which rooms are on. User space puts the set into the object before the load (see `constants`): the code of a room that is off is not even loaded.

use zerocopy::{Immutable, IntoBytes};

/// A set of rooms that can be switched off.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
pub struct Rooms(pub u32);

impl Rooms {
    /// No room at all.
    pub const NONE: Self = Self(0);
    /// Connections and requests.
    pub const SOCKET: Self = Self(1);
    /// GPUs; has no kernel half.
    pub const GPU: Self = Self(1 << 7);
    /// Locks of SQLite databases.
    pub const SQLITE: Self = Self(1 << 8);
    /// Statements of SQLite, by probes on its functions.
    pub const SQLITE_STATEMENTS: Self = Self(1 << 9);
    /// Plain text of TLS libraries.
    pub const TLS: Self = Self(1 << 10);
    /// What processes use; has no kernel half.
    pub const RESOURCES: Self = Self(1 << 11);
    /// Requests of block devices.
    pub const BLOCK: Self = Self(1 << 12);
    /// Regular files, and what their names say of stages.
    pub const FILE_IO: Self = Self(1 << 3);

    /// Whether every room of `other` is in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
