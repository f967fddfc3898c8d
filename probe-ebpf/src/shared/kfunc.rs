//! Calls of the kernel's own functions, which the compiler does not know: each stands here as the word that user space
//! replaces; see `probe_common::kfunc`.

use core::arch::asm;

use probe_common::kfunc::{PREEMPT_DISABLE, PREEMPT_ENABLE, READABLE};

/// An address of kernel memory from which plain instructions may read: 0 where nothing is. Not to be used where
/// [`Missing::DIRECT_READS`](probe_common::rungs::Missing::DIRECT_READS) is.
#[inline(always)]
pub(super) fn readable<T>(address: u64) -> *const T {
    let pointer: u64;
    // SAFETY: the call takes r1 and r2 (no type), gives r0, and leaves r6 to r9 and all memory as they are.
    unsafe {
        asm!(
            ".8byte {call}",
            call = const READABLE.word,
            inlateout("r1") address => _,
            inlateout("r2") 0_u64 => _,
            lateout("r0") pointer,
            lateout("r3") _, lateout("r4") _, lateout("r5") _,
            options(pure, nomem, nostack),
        );
    }
    pointer as *const T
}

/// As long as it lives, no other task gets this processor, where user space found that one could. Linux runs a program at
/// most once at a time on a processor: what another task did meanwhile would be left out.
pub(crate) struct Undivided(());

impl Undivided {
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        // SAFETY: the call takes nothing, and leaves r6 to r9 as they are.
        unsafe {
            asm!(
                ".8byte {call}",
                call = const PREEMPT_DISABLE.word,
                lateout("r0") _, lateout("r1") _, lateout("r2") _, lateout("r3") _, lateout("r4") _, lateout("r5") _,
                options(nostack),
            );
        }
        Self(())
    }
}

impl Drop for Undivided {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            asm!(
                ".8byte {call}",
                call = const PREEMPT_ENABLE.word,
                lateout("r0") _, lateout("r1") _, lateout("r2") _, lateout("r3") _, lateout("r4") _, lateout("r5") _,
                options(nostack),
            );
        }
    }
}
