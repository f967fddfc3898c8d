//! Network conditions on a device: the only part that changes the host.
//!
//! In reading order: [`condition`] and [`schedule`] say what a condition is, [`read`] reads it, [`scope`] says for which
//! packets, [`plan`] makes classes and rules of both (all of these are pure); [`injector`] carries the plan out through
//! [`netlink`] and [`classifier`], with a [`journal`] from which [`undo`] takes it back; [`proof`] judges what [`ping`]
//! measures.
//!
//! The dead-man switch: a root htb with a handle of our own lets everything pass; packets reach an impaired class only
//! through the classifier, which the kernel detaches when its holder dies, or which stops at its deadline.

pub mod claim;
pub mod classifier;
pub mod condition;
pub mod distribution;
pub mod encode;
pub mod injector;
pub mod journal;
pub mod mirror;
pub mod netlink;
pub mod netns;
pub mod ping;
pub mod plan;
pub mod proof;
pub mod read;
pub mod schedule;
pub mod scope;
pub mod undo;

pub use condition::Condition;
pub use injector::{Injector, Refused, Request};
pub use proof::Proof;
