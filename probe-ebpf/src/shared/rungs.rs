//! Which hooks this run has to do without.

use probe_common::rungs::Missing;

/// Written by user space before the object is loaded.
#[unsafe(no_mangle)]
static MISSING: Missing = Missing::NOTHING;

/// Whether a hook is missing: a constant for the verifier, which drops the branch not taken.
#[inline(always)]
pub(crate) fn is_missing(hook: Missing) -> bool {
    // SAFETY: a plain static of this object, never written after load.
    unsafe { core::ptr::read_volatile(&raw const MISSING) }.has(hook)
}
