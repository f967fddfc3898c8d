//! The call of a function of the kernel's own, which the compiler does not know: it stands here as the word that user space
//! replaces; see `probe_common::kfunc`.

use core::arch::asm;

use probe_common::kfunc::WORD;

/// An address of kernel memory from which plain instructions may read: 0 where nothing is. Not to be used where
/// [`Missing::DIRECT_READS`](probe_common::rungs::Missing::DIRECT_READS) is.
#[inline(always)]
pub(super) fn readable<T>(address: u64) -> *const T {
    let pointer: u64;
    // SAFETY: the call takes r1 and r2 (no type), gives r0, and leaves r6 to r9 and all memory as they are.
    unsafe {
        asm!(
            ".8byte {call}",
            call = const WORD,
            inlateout("r1") address => _,
            inlateout("r2") 0_u64 => _,
            lateout("r0") pointer,
            lateout("r3") _, lateout("r4") _, lateout("r5") _,
            options(pure, nomem, nostack),
        );
    }
    pointer as *const T
}
