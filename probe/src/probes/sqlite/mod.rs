//! The sqlite room: locks of SQLite databases, by everybody, and the sleeps of the tree's threads in SQLite; and, as a
//! probe of its own that can be switched off, the statements that they execute.

mod caller;
mod decoder;
mod held;
mod sql;
mod texts;

pub use decoder::Decoder;

use probe_common::rooms::Rooms;

use super::{Function, Hook, Spec};

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "sqlite",
    summary: "SQLite databases: lock waits, which lock, who held it, write transactions",
    room: Rooms::SQLITE,
    needs: Rooms::NONE,
    hooks: &[Hook {
        program: "sqlite_lock",
        again: None,
        tracepoint: "posix_lock_inode",
        perf: Some("filelock"),
        since: "4.17",
        purpose: "locks of databases: granted, refused, given back, by whom",
    }],
    functions: &[],
};

/// Statements; see [`Spec`].
pub const STATEMENTS: Spec = Spec {
    id: "sqlite-statements",
    summary: "SQLite statements: calls, durations, rows, errors, waits for a shared connection",
    room: Rooms::SQLITE_STATEMENTS,
    needs: Rooms::SQLITE,
    hooks: &[],
    functions: &[
        function("sqlite3_prepare", &["sqlite_prepared", "sqlite_prepare"]),
        function("sqlite3_prepare_v2", &["sqlite_prepared", "sqlite_prepare"]),
        function("sqlite3_prepare_v3", &["sqlite_prepared", "sqlite_prepare_flags"]),
        function("sqlite3LockAndPrepare", &["sqlite_prepared", "sqlite_prepare_inner"]),
        function("sqlite3_step", &["sqlite_stepped", "sqlite_step"]),
        function("sqlite3_reset", &["sqlite_reset"]),
        function("sqlite3_finalize", &["sqlite_finalize"]),
    ],
};

const fn function(symbol: &'static str, programs: &'static [&'static str]) -> Function {
    Function { symbol, programs, purpose: "statements of SQLite" }
}
