//! One room per probe: what it hooks, what it costs, and how its records become events.
//!
//! `process` and `socket` have a kernel half of the same name; `http` is fed with the bytes that `socket`
//! hands up. Rooms never import each other.

pub mod bytes;
pub mod http;
pub mod process;
pub mod socket;
pub mod wire;

/// What a room is: the single source for attach, `doctor`, the README table and the tests.
#[derive(Debug)]
pub struct Spec {
    /// Its name, the same everywhere.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Kernel programs and where they attach; empty for rooms without a kernel half.
    pub hooks: &'static [Hook],
}

/// One kernel program and its attach point.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program in the object.
    pub program: &'static str,
    /// The raw tracepoint.
    pub tracepoint: &'static str,
    /// First kernel release that has it.
    pub since: &'static str,
    /// What it is for: what is lost without it.
    pub purpose: &'static str,
}

/// Every room, in the order in which they are attached.
pub const PROBES: &[&Spec] = &[&process::SPEC, &socket::SPEC, &http::SPEC];

/// Every hook with the room that owns it.
pub fn hooks() -> impl Iterator<Item = (&'static Spec, &'static Hook)> {
    PROBES.iter().flat_map(|spec| spec.hooks.iter().map(move |hook| (*spec, hook)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PROBES, hooks};

    /// A hook has exactly one owner, a program one attach point, a room one name.
    #[test]
    fn nothing_is_named_twice() {
        let unique = |names: Vec<&str>| {
            let set: BTreeSet<_> = names.iter().copied().collect();
            assert_eq!(set.len(), names.len(), "{names:?}");
        };
        unique(PROBES.iter().map(|spec| spec.id).collect());
        unique(hooks().map(|(_, hook)| hook.tracepoint).collect());
        unique(hooks().map(|(_, hook)| hook.program).collect());
    }
}
