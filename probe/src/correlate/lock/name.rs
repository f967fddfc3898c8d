//! SQLite's locks: which bytes they are, and what SQLite calls them.

use probe_common::sqlite::{PENDING_BYTE, RESERVED_BYTE, SHARED_FIRST, SHARED_SIZE, SHM_FIRST, SHM_LAST};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::FileRole;

/// A byte (or the range of the readers) that one lock is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Slot {
    Pending,
    Reserved,
    Shared,
    /// Of the `-shm` file, from 0 (`WAL_WRITE_LOCK`) to 8.
    Wal(u8),
}

impl Slot {
    pub(super) const WAL_WRITE: Self = Self::Wal(0);
    pub(super) const WAL_CKPT: Self = Self::Wal(1);
    pub(super) const WAL_RECOVER: Self = Self::Wal(2);
    /// One for each mark up to which the WAL is read.
    pub(super) const WAL_READS: [Self; 5] =
        [Self::Wal(3), Self::Wal(4), Self::Wal(5), Self::Wal(6), Self::Wal(7)];
    /// A connection holds it as long as it lives.
    pub(super) const WAL_DMS: Self = Self::Wal(8);

    /// The slots of a file that a range of bytes touches.
    pub(super) fn in_range(role: FileRole, start: u64, end: u64) -> impl Iterator<Item = Self> {
        let touches = move |first: u64, last: u64| start <= last && end >= first;
        let rollback = [
            (Self::Pending, PENDING_BYTE, PENDING_BYTE),
            (Self::Reserved, RESERVED_BYTE, RESERVED_BYTE),
            (Self::Shared, SHARED_FIRST, SHARED_FIRST + SHARED_SIZE - 1),
        ];
        let rollback = rollback
            .into_iter()
            .filter(move |(_, first, last)| role == FileRole::Database && touches(*first, *last))
            .map(|(slot, ..)| slot);
        let wal = (SHM_FIRST..=SHM_LAST)
            .zip(0u8..)
            .filter(move |(byte, _)| role == FileRole::Shm && touches(*byte, *byte))
            .map(|(_, number)| Self::Wal(number));
        rollback.chain(wal)
    }

    /// What SQLite calls a lock on it.
    pub(super) const fn name(self, is_write: bool) -> LockName {
        match self {
            Self::Pending => LockName::Pending,
            Self::Reserved => LockName::Reserved,
            Self::Shared if is_write => LockName::Exclusive,
            Self::Shared => LockName::Shared,
            Self::Wal(0) => LockName::WalWrite,
            Self::Wal(1) => LockName::WalCkpt,
            Self::Wal(2) => LockName::WalRecover,
            Self::Wal(3) => LockName::WalRead0,
            Self::Wal(4) => LockName::WalRead1,
            Self::Wal(5) => LockName::WalRead2,
            Self::Wal(6) => LockName::WalRead3,
            Self::Wal(7) => LockName::WalRead4,
            Self::Wal(_) => LockName::WalDms,
        }
    }
}

/// A lock as SQLite's documentation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LockName {
    /// Read, in a rollback mode.
    Shared,
    /// About to write: keeps new readers out.
    Pending,
    /// Intends to write.
    Reserved,
    /// Writes: keeps everybody out.
    Exclusive,
    /// The writer of WAL mode.
    WalWrite,
    /// The checkpointer of WAL mode.
    WalCkpt,
    /// Rebuilds the index of the WAL.
    WalRecover,
    /// Readers of the database alone.
    #[serde(rename = "WAL_READ0")]
    WalRead0,
    /// Readers up to a mark in the WAL.
    #[serde(rename = "WAL_READ1")]
    WalRead1,
    /// As above.
    #[serde(rename = "WAL_READ2")]
    WalRead2,
    /// As above.
    #[serde(rename = "WAL_READ3")]
    WalRead3,
    /// As above.
    #[serde(rename = "WAL_READ4")]
    WalRead4,
    /// Whoever has the WAL open.
    WalDms,
    /// Which lock it was could not be seen.
    Unknown,
}

impl LockName {
    /// Who has it writes, or is about to.
    pub const fn is_for_writing(self) -> bool {
        matches!(self, Self::Reserved | Self::WalWrite)
    }

    /// Getting it takes a call that is seen, because no two can have it at once.
    pub(super) const fn is_sole(self) -> bool {
        matches!(self, Self::Reserved | Self::Exclusive | Self::WalWrite | Self::WalCkpt | Self::WalRecover)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_names() {
        let names = |role, start, end| {
            Slot::in_range(role, start, end).map(|slot| slot.name(true)).collect::<Vec<_>>()
        };
        assert_eq!(
            names(FileRole::Database, PENDING_BYTE, RESERVED_BYTE),
            [LockName::Pending, LockName::Reserved]
        );
        assert_eq!(names(FileRole::Database, SHARED_FIRST, SHARED_FIRST + 509), [LockName::Exclusive]);
        assert_eq!(names(FileRole::Database, 0, u64::MAX).len(), 3);
        assert_eq!(names(FileRole::Shm, 121, 122), [LockName::WalCkpt, LockName::WalRecover]);
        assert_eq!(names(FileRole::Shm, 124, 127).len(), 4);
        assert_eq!(names(FileRole::Shm, 0, u64::MAX).len(), 9);
        assert_eq!(names(FileRole::Shm, PENDING_BYTE, PENDING_BYTE), []);
    }
}
