//! Files and stages: what the application itself, the directory and strace say of them.

mod hostile;
mod pipeline;
mod slow;
mod stages;
mod writer;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    stages::add_to(suite);
    hostile::add_to(suite);
    slow::add_to(suite);
    pipeline::add_to(suite);
}
