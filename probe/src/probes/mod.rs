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

    use probe_common::header::Kind;
    use proptest::prelude::*;

    use super::{PROBES, hooks, process, socket, wire};

    proptest! {
        /// Any bytes at all from the ring decode to something or to an error, never to a panic.
        #[test]
        fn records_never_panic(kind in 0u32..20, mut record in prop::collection::vec(any::<u8>(), 0..300)) {
            // Most random kinds are unknown: make them known ones.
            if let Some(bytes) = record.get_mut(16..20) {
                bytes.copy_from_slice(&kind.to_ne_bytes());
            }
            let Ok(kind) = wire::kind_of(&record) else { return Ok(()) };
            let _ = process::decode(kind, &record);
            if let Ok(Some(socket::SocketEvent::Bytes(bytes))) = socket::decode(kind, &record) {
                prop_assert!(bytes.head.len() + bytes.tail.len() <= record.len());
            }
        }
    }

    /// Every kind belongs to exactly one room, and a record that is cut short belongs to none.
    #[test]
    fn every_kind_has_one_decoder() {
        for kind in Kind::ALL {
            let mut record = vec![0; 200];
            record[16..20].copy_from_slice(&(*kind as u32).to_ne_bytes());
            assert_eq!(wire::kind_of(&record), Ok(*kind));
            let process = process::decode(*kind, &record).unwrap().is_some();
            let socket = socket::decode(*kind, &record).unwrap().is_some();
            assert!(process != socket, "{kind:?}");
            let cut = &record[..24];
            let decoded = process::decode(*kind, cut).is_ok_and(|event| event.is_some())
                || socket::decode(*kind, cut).is_ok_and(|event| event.is_some());
            // The end of a process is its header alone.
            assert_eq!(decoded, *kind == Kind::Exit, "{kind:?}");
        }
    }

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
