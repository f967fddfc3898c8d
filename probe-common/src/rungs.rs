//! What the kernel side has to do without. User space puts it into the object before the load (see `constants`): the
//! code of the rung that is not taken is not even loaded.

use zerocopy::{Immutable, IntoBytes};

/// Hooks that other programs must make up for, and what the verifier does not know yet.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
pub struct Missing(pub u32);

impl Missing {
    /// Nothing is missing.
    pub const NOTHING: Self = Self(0);
    /// No program runs at the entry of a system call.
    pub const ENTRY: Self = Self(1);
    /// No program runs inside a read of a TCP socket.
    pub const READ: Self = Self(1 << 1);
    /// Kernel memory can be read through a helper alone, not by plain instructions.
    pub const DIRECT_READS: Self = Self(1 << 2);
    /// Programs stand at perf's tracepoints, not at the raw ones, where there is a choice.
    pub const RAW: Self = Self(1 << 3);

    /// Whether all of `other` is missing.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
