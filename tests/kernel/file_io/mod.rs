//! Files and stages: what the application itself, the directory and strace say of them.

mod stages;
mod writer;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    stages::add_to(suite);
}
