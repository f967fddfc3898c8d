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

/// Slots that are the first choice of a thread; as many again are a second choice.
const N_FIRST: u32 = 16_384;
/// All slots for traced threads.
pub const N_SLOTS: u32 = 2 * N_FIRST;

/// The slots of a thread, in the order in which they are tried. Ids are given out one after the other, so that those of a
/// tree hardly ever share the first one; the second ones of those that do are as if by chance.
#[must_use]
pub const fn slots_of(tid: u32) -> [u32; 2] {
    /// 2^32 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
    const SPREAD: u32 = 0x9e37_79b1;
    [tid % N_FIRST, N_FIRST + (tid.wrapping_mul(SPREAD) >> (32 - N_FIRST.ilog2()))]
}

/// Room for one traced thread: the value of the `THREADS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// Its state.
    pub thread: Thread,
    /// Its id; 0 where the slot is free.
    pub tid: u32,
    /// No implicit padding.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, only integers, no padding (a `Thread`, 4+4), so every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Slot {}

/// What the kernel side remembers about a traced thread.
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

#[cfg(test)]
mod tests {
    use super::{N_FIRST, slots_of};

    /// The second slot is none of the first ones and within the table, and threads that share the first one do not share the
    /// second one.
    #[test]
    fn slots_are_apart() {
        // The most threads that Linux allows.
        const PID_MAX: u32 = 1 << 22;
        let mut seen = [false; N_FIRST as usize];
        let mut n = 0;
        for tid in (0..PID_MAX).filter(|tid| slots_of(*tid)[0] == 7) {
            let [_, second] = slots_of(tid);
            let index = (second - N_FIRST) as usize;
            assert!(!seen[index], "{tid}");
            seen[index] = true;
            n += 1;
        }
        assert_eq!(n, 256);
    }
}
