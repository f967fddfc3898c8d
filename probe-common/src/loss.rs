//! Every way in which the kernel side can lose something, as an index into the per-CPU loss counters.

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident => $id:literal),+ $(,)?) => {
        /// Why something was not seen.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LossCause { $($(#[$doc])* $name),+ }

        impl LossCause {
            /// Every cause, in index order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in `report.json` (`health.lost_by_cause`).
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }
        }
    };
}

causes! {
    /// The ring had no room: user space did not drain fast enough.
    RingFull => "ring_full",
    /// The connection table was full: a connection is not followed.
    ConnTableFull => "connection_table_full",
    /// A program that another one hands on to was not there.
    ProgramMissing => "program_missing",
    /// The table of open files was full: a file is not followed.
    FileTableFull => "file_table_full",
    /// The thread table was full: a thread is not followed.
    ThreadTableFull => "thread_table_full",
    /// Bytes of the application could not be read (page not resident).
    UserReadFault => "user_read_fault",
    /// A kernel structure could not be read.
    KernelReadFault => "kernel_read_fault",
    /// More I/O vectors in one call than are walked; the bytes behind them were counted but not seen.
    IovecsUnread => "iovecs_unread",
    /// A call that moves several messages at once (sendmmsg, recvmmsg) on a connection that is followed.
    ManyMessages => "many_messages",
    /// The table of database files was full: locks of a file are not followed.
    SqliteTableFull => "sqlite_file_table_full",
}

/// Number of counters.
pub const N_CAUSES: usize = LossCause::ALL.len();
