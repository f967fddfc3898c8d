//! Requests: counted exactly, timed as the wire times them, taken apart, and ended in every way.

mod breakdown;
mod endings;
mod exact;
mod plain;
mod shapes;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    exact::add_to(suite);
    breakdown::add_to(suite);
    endings::add_to(suite);
    shapes::add_to(suite);
    plain::add_to(suite);
}
