//! Connections: their queues, their age, and the calls on them.

mod accept;
mod blocked;
mod older;
mod syscalls;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    accept::add_to(suite);
    blocked::add_to(suite);
    older::add_to(suite);
    syscalls::add_to(suite);
}
