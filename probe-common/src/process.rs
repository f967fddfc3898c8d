//! The process room: which threads belong to the traced tree.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::header::Header;

/// A traced thread made a new thread or process.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct ForkRaw {
    /// Who forked.
    pub header: Header,
    /// Thread group of the child; the same as the parent's for a thread.
    pub child_pid: u32,
    /// Thread id of the child.
    pub child_tid: u32,
}

/// A traced process replaced its program.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct ExecRaw {
    /// Who executed.
    pub header: Header,
    /// Name after the exec (`TASK_COMM_LEN`), NUL padded.
    pub comm: [u8; 16],
}

/// The first thread of a traced process ended, and with it, nearly always, the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct ExitRaw {
    /// Who ended.
    pub header: Header,
}

/// [`Thread::nr`] of a thread that was found at the attach: it may be inside any call.
pub const NR_UNKNOWN: u32 = u32::MAX;

/// What the kernel side remembers about a traced thread: the value of the `THREADS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    /// Thread group id.
    pub pid: u32,
    /// Number of the watched system call in flight plus one; 0 for none; [`NR_UNKNOWN`] for "may be in one
    /// whose entry was not seen".
    pub nr: u32,
    /// Entry of that call, nanoseconds.
    pub enter_ns: u64,
    /// The socket that `tcp_rcv_space_adjust` named inside this call; 0 for none.
    pub sock: u64,
    /// When the first byte that this call reads became readable, nanoseconds; 0 for unknown.
    pub arrival_ns: u64,
    /// When the peer had acknowledged all that was sent before this call; 0 for unknown or not yet.
    pub acked_ns: u64,
    /// The connection from which it last read; 0 for none.
    pub read_conn: u64,
    /// `struct file` that a close in flight closes; 0 for none.
    pub closing: u64,
    /// Time in calls on regular files so far, nanoseconds.
    pub io_ns: u64,
    /// When the call in flight, or one before it, was first held back because too much was dirty, nanoseconds.
    pub stalled_ns: u64,
}

// SAFETY: `repr(C)`, only integers, no padding (4+4+8*8), so every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Thread {}
