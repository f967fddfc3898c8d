//! Which rooms are on in this run.

use probe_common::rooms::Rooms;

use super::constants::constant;

/// Whether a room is on: the verifier drops the branch not taken.
#[inline(always)]
pub(crate) fn is_on(room: Rooms) -> bool {
    Rooms(constant!(rooms) as u32).has(room)
}
