//! Requests: counted exactly, timed as the wire times them, taken apart, and ended in every way.

mod breakdown;
mod endings;
mod exact;
mod files;
mod hostile;
mod outgoing;
mod plain;
mod scripts;
mod servers;
mod shapes;
mod unix;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    exact::add_to(suite);
    breakdown::add_to(suite);
    endings::add_to(suite);
    shapes::add_to(suite);
    plain::add_to(suite);
    servers::add_to(suite);
    files::add_to(suite);
    unix::add_to(suite);
    outgoing::add_to(suite);
    scripts::add_to(suite);
    hostile::add_to(suite);
}
