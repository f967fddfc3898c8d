//! The head of every ring record: when, who, and which record follows.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// First field of every ring record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
pub struct Header {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ts_ns: u64,
    /// Thread group id (what user space calls the pid), in the initial pid namespace; 0 where the
    /// event happened in softirq context and the current task has nothing to do with it.
    pub pid: u32,
    /// Thread id, as above.
    pub tid: u32,
    /// One of [`Kind`].
    pub kind: u32,
    /// No implicit padding: the record is copied as bytes.
    pub reserved: u32,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal),+ $(,)?) => {
        /// What a ring record is. The numbers are the wire format; an unknown one is a decode error.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name = $value),+ }

        impl Kind {
            /// Every kind, for tests that walk them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The kind with this number, if there is one.
            #[must_use]
            pub const fn from_u32(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// [`crate::process::ForkRaw`]
    Fork = 1,
    /// [`crate::process::ExecRaw`]
    Exec = 2,
    /// [`crate::process::ExitRaw`]
    Exit = 3,
    /// [`crate::socket::AcceptRaw`]
    Accept = 10,
    /// [`crate::socket::DataRaw`]: bytes that a read returned
    Recv = 11,
    /// [`crate::socket::DataRaw`]: bytes that a write handed to the kernel
    Send = 12,
    /// [`crate::socket::ConnRaw`]: the connection is gone
    Closed = 14,
    /// [`crate::socket::ListenRaw`]
    Listen = 15,
    /// [`crate::socket::AckedRaw`]
    Acked = 9,
    /// [`crate::socket::UnconnectedRaw`]
    Unconnected = 19,
    /// [`crate::tls::PlainHead`]: a step of a handshake
    TlsHandshake = 16,
    /// [`crate::tls::PlainRaw`]: plain text that a TLS library returned, or none
    TlsRead = 17,
    /// [`crate::tls::PlainRaw`]: plain text that a TLS library took
    TlsWrite = 18,
    /// [`crate::file_io::OpenRaw`]
    FileOpen = 40,
    /// [`crate::file_io::CallRaw`]
    FileCall = 41,
    /// [`crate::file_io::CloseRaw`]
    FileClose = 42,
    /// [`crate::file_io::NameRaw`]
    FileName = 43,
    /// [`crate::file_io::MarkerRaw`]
    Marker = 44,
    /// [`crate::socket::PeerRaw`]: where a connection leads
    Peer = 13,
    /// [`crate::sqlite::LockRaw`]
    SqliteLock = 80,
    /// [`crate::sqlite::SleepRaw`]
    SqliteSleep = 81,
    /// [`crate::sqlite::FileRaw`]
    SqliteFile = 82,
    /// [`crate::sqlite::SqlRaw`]
    SqliteText = 83,
    /// [`crate::sqlite::StatementRaw`]
    SqliteStatement = 84,
    /// [`crate::sqlite::MutexRaw`]
    SqliteMutex = 85,
    /// [`crate::sqlite::CheckpointRaw`]
    SqliteCheckpoint = 86,
}
