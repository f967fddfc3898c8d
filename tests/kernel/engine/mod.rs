//! The run itself: that it leaves nothing behind, can be replayed, and holds out.

mod detach;
mod plan;
mod record;
mod scale;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    detach::add_to(suite);
    plan::add_to(suite);
    record::add_to(suite);
    scale::add_to(suite);
}
