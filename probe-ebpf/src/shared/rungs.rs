//! Which hooks this run has to do without.

use probe_common::rungs::Missing;

use super::constants::constant;

/// Whether a hook is missing: the verifier drops the branch not taken.
#[inline(always)]
pub(crate) fn is_missing(hook: Missing) -> bool {
    Missing(constant!(missing) as u32).has(hook)
}
