//! Keeps a bounds check that the compiler can prove superfluous but the verifier cannot.

/// The same value, of which the compiler no longer knows the range.
#[inline(always)]
pub(crate) fn opaque(value: usize) -> usize {
    // SAFETY: reads a live local; volatile only so that the read is kept.
    unsafe { core::ptr::read_volatile(&raw const value) }
}
