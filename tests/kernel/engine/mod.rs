//! The run itself: that it leaves nothing behind, can be replayed, and holds out.

mod abort;
mod budget;
mod budgeted;
mod detach;
mod plan;
mod record;
mod rungs;
mod scale;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    abort::add_to(suite);
    budget::add_to(suite);
    budgeted::add_to(suite);
    detach::add_to(suite);
    plan::add_to(suite);
    record::add_to(suite);
    rungs::add_to(suite);
    scale::add_to(suite);
}
