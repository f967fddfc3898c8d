//! The sqlite room: locks of SQLite databases, by everybody, and the sleeps of the tree's threads in SQLite.

mod caller;
mod decoder;
mod held;

pub use decoder::Decoder;

use probe_common::rooms::Rooms;

use super::{Hook, Spec};

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "sqlite",
    summary: "SQLite databases: lock waits, which lock, who held it, write transactions",
    room: Rooms::SQLITE,
    needs: Rooms::NONE,
    hooks: &[Hook {
        program: "sqlite_lock",
        tracepoint: "posix_lock_inode",
        since: "4.17",
        purpose: "locks of databases: granted, refused, given back, by whom",
    }],
    functions: &[],
};
