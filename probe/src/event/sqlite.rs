//! What happened to the locks of SQLite databases, and the sleeps between two attempts at one.

use serde::{Deserialize, Serialize};

/// A file that belongs to a database; unique in a run, whatever the file is called later.
pub type FileId = u32;

/// A statement without its literals; unique in a run.
pub type SqlId = u32;

/// See [`super::Event::Sqlite`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Sqlite {
    /// A file of a database was locked for the first time.
    File(SqliteFile),
    /// A lock was granted, refused or given back.
    Lock(SqliteLock),
    /// SQLite put a thread of the tree to sleep between two attempts at a lock.
    Sleep(SqliteSleep),
    /// A statement was prepared for the first time.
    Text(SqliteText),
    /// The execution of a statement is over.
    Statement(SqliteStatement),
    /// A thread waited inside SQLite for another one that uses the same connection.
    Mutex(SqliteMutex),
    /// A checkpoint of a WAL is over; its lock is given back by the next event of its thread.
    Checkpoint(SqliteCheckpoint),
}

impl Sqlite {
    /// As [`super::Event::ts_ns`].
    pub const fn ts_ns(&self) -> u64 {
        match self {
            Self::File(file) => file.ts_ns,
            Self::Lock(lock) => lock.ts_ns,
            Self::Sleep(sleep) => sleep.end_ns,
            Self::Text(text) => text.ts_ns,
            Self::Statement(statement) => statement.end_ns,
            Self::Mutex(mutex) => mutex.end_ns,
            Self::Checkpoint(checkpoint) => checkpoint.ts_ns,
        }
    }
}

/// Which file of a database locks are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// The database itself: the locks of the rollback modes.
    Database,
    /// Its `-shm`: the locks of WAL mode.
    Shm,
}

/// See [`Sqlite::File`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqliteFile {
    /// When.
    pub ts_ns: u64,
    /// Names it from now on.
    pub file: FileId,
    /// What it is.
    pub role: FileRole,
    /// Path of the database (not of its `-shm`), as the process that locked it first sees it.
    pub database: String,
    /// Inode of the database, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
}

/// What became of the attempt to change a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockChange {
    /// Shared, granted.
    Read,
    /// Exclusive, granted.
    Write,
    /// Given back, by unlocking, closing or ending.
    Release,
    /// Shared, refused: somebody else has it.
    ReadRefused,
    /// Exclusive, refused.
    WriteRefused,
}

/// See [`Sqlite::Lock`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqliteLock {
    /// When; for a lock that is older than our view of the file, when we found it.
    pub ts_ns: u64,
    /// Whose lock: SQLite's locks belong to processes.
    pub pid: u32,
    /// The thread that asked; the process where that is not known.
    pub tid: u32,
    /// On which file.
    pub file: FileId,
    /// What happened.
    pub change: LockChange,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// The process belongs to the traced tree.
    pub traced: bool,
    /// It held the lock already when we first looked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub older: bool,
    /// Name of the thread, printable; told when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// The statement that the thread executed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlId>,
}

/// See [`Sqlite::Sleep`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqliteSleep {
    /// Its begin.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// What SQLite asked for.
    pub requested_ns: u64,
    /// The statement that the thread executes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlId>,
}

/// See [`Sqlite::Text`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqliteText {
    /// When.
    pub ts_ns: u64,
    /// Names it from now on.
    pub sql: SqlId,
    /// The statement; `?` for each literal.
    pub text: String,
}

/// See [`Sqlite::Statement`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqliteStatement {
    /// Its begin.
    pub start_ns: u64,
    /// Its end: the last row, a failure, or that nobody wanted more of it.
    pub end_ns: u64,
    /// Of this, inside SQLite; preparation included where that came before.
    pub busy_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread that ended it.
    pub tid: u32,
    /// Which statement; none for one that was prepared before we looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlId>,
    /// Its connection: a number that means something within the process; 0 where it is not known.
    pub connection: u64,
    /// Rows that it returned.
    pub rows: u32,
    /// SQLite's result code (sqlite3.h): 101 done, 100 left before its end, others failed.
    pub code: i32,
}

/// See [`Sqlite::Mutex`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqliteMutex {
    /// Its begin.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The statement that had to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlId>,
    /// As [`SqliteStatement::connection`].
    pub connection: u64,
}

/// See [`Sqlite::Checkpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqliteCheckpoint {
    /// Its end.
    pub ts_ns: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The statement that made it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlId>,
    /// Pages written.
    pub pages: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Syncing calls.
    pub syncs: u64,
    /// Time inside them.
    pub sync_ns: u64,
}
