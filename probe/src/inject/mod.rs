//! Network conditions.

pub mod condition;
pub mod distribution;
pub mod encode;
pub mod netlink;
pub mod read;
pub mod schedule;
