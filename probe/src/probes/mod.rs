//! One room per probe: what it hooks, what it costs, and how its records become events.
//!
//! `process` and `socket` have a kernel half of the same name; `http` is fed with the bytes that `socket`
//! hands up, `gpu` asks a driver, `resources` reads `/proc`; the others have both halves. Rooms never import each other.

pub mod block;
pub mod bytes;
pub mod file_io;
pub mod gpu;
pub mod http;
pub mod path;
pub mod process;
pub mod resources;
pub mod rungs;
pub mod socket;
pub mod sqlite;
pub mod tls;
pub mod websocket;
pub mod wire;

use probe_common::rooms::Rooms;

/// What a room is: the single source for attach, `doctor`, the README table and the tests.
#[derive(Debug)]
pub struct Spec {
    /// Its name, the same everywhere.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The room itself where it can be switched off.
    pub room: Rooms,
    /// The rooms that it cannot do without; it is off when one of them is.
    pub needs: Rooms,
    /// Kernel programs and where they attach; empty for rooms without a kernel half.
    pub hooks: &'static [Hook],
    /// Functions of the target's own files that are probed.
    pub functions: &'static [Function],
}

/// One kernel program and its attach point.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program in the object.
    pub program: &'static str,
    /// The program that is called after it, for what the kernel left it out of because it was under way on the same
    /// processor; see `probe_common::turns`.
    pub again: Option<&'static str>,
    /// The tracepoint.
    pub tracepoint: &'static str,
    /// Where perf has it under that name, if its record tells what the program needs and no interrupt calls it.
    pub perf: Option<&'static str>,
    /// First kernel release that has it.
    pub since: &'static str,
    /// What it is for: what is lost without it.
    pub purpose: &'static str,
}

/// A function of a library or program, probed in every file that the traced tree maps: the dearest kind of hook (1 to
/// 16 us a call), so only where there is no other.
///
/// Its programs run for every process that uses such a file: they look first whether the thread is traced. They can see a
/// return whose entry they have not seen.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name in a symbol table.
    pub symbol: &'static str,
    /// Names of the programs in the object; each says itself whether it runs at the entry or at the return.
    pub programs: &'static [&'static str],
    /// What it is for: what is lost without it.
    pub purpose: &'static str,
}

/// Every room, in the order in which they are attached.
pub const PROBES: &[&Spec] = &[
    &process::SPEC,
    &FDIO,
    &socket::SPEC,
    &tls::SPEC,
    &http::SPEC,
    &websocket::SPEC,
    &file_io::SPEC,
    &block::SPEC,
    &sqlite::SPEC,
    &sqlite::STATEMENTS,
    &gpu::SPEC,
    &resources::SPEC,
];

/// The boundary between application and kernel, which several rooms share (`probe-ebpf/src/shared/fdio.rs`).
/// Attached when one of them is on.
const FDIO: Spec = Spec {
    id: "fdio",
    summary: "system calls that move bytes: entry and return, shared by the rooms",
    room: Rooms::NONE,
    needs: Rooms::NONE,
    hooks: &[
        Hook {
            program: "fdio_enter",
            again: None,
            tracepoint: "sys_enter",
            perf: Some("raw_syscalls"),
            since: "4.17",
            purpose: "durations of the calls that are watched",
        },
        Hook {
            program: "fdio_exit",
            again: None,
            tracepoint: "sys_exit",
            perf: Some("raw_syscalls"),
            since: "4.17",
            purpose: "requests, responses and whatever else passes a system call",
        },
    ],
    functions: &[],
};

/// Every hook of the rooms that are on, with its owner.
pub fn hooks(rooms: Rooms) -> impl Iterator<Item = (&'static Spec, &'static Hook)> {
    PROBES
        .iter()
        .filter(move |spec| rooms.has(spec.room.with(spec.needs)))
        .flat_map(|spec| spec.hooks.iter().map(move |hook| (*spec, hook)))
}

/// The programs that those of other rooms hand on to.
pub fn tails(rooms: Rooms) -> impl Iterator<Item = &'static str> {
    rooms.has(file_io::SPEC.room).then_some(file_io::TAIL).into_iter()
}

/// Every probed function of the rooms that are on, with its owner.
pub fn functions(rooms: Rooms) -> impl Iterator<Item = (&'static Spec, &'static Function)> {
    PROBES
        .iter()
        .filter(move |spec| rooms.has(spec.room.with(spec.needs)))
        .flat_map(|spec| spec.functions.iter().map(move |function| (*spec, function)))
}

/// The rooms that a user can switch off.
pub fn switchable() -> impl Iterator<Item = &'static Spec> {
    PROBES.iter().copied().filter(|spec| spec.room != Rooms::NONE)
}

/// All of them.
pub fn every_room() -> Rooms {
    switchable().fold(Rooms::NONE, |rooms, spec| rooms.with(spec.room))
}

/// The rooms that are on after `--only` and `--skip`, or the name that is none of theirs.
pub fn selection<'a>(only: &'a [String], skip: &'a [String]) -> Result<Rooms, &'a str> {
    let find = |name: &'a String| {
        switchable()
            .find(|spec| spec.id == name.as_str())
            .map(|spec| (spec.room, spec.needs))
            .ok_or(name.as_str())
    };
    let mut rooms = if only.is_empty() { every_room() } else { Rooms::NONE };
    for name in only {
        let (room, needs) = find(name)?;
        rooms = rooms.with(room).with(needs);
    }
    for name in skip {
        rooms = rooms.without(find(name)?.0);
    }
    Ok(rooms)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use probe_common::header::Kind;
    use proptest::prelude::*;

    use super::{PROBES, every_room, file_io, hooks, process, selection, socket, sqlite, wire};

    proptest! {
        /// Any bytes at all from the ring decode to something or to an error, never to a panic.
        #[test]
        fn records_never_panic(kind in 0..Kind::ALL.len(), mut record in prop::collection::vec(any::<u8>(), 0..3000)) {
            // Most random kinds are unknown: make them known ones.
            if let Some(bytes) = record.get_mut(16..20) {
                bytes.copy_from_slice(&(Kind::ALL[kind] as u32).to_ne_bytes());
            }
            let Ok(kind) = wire::kind_of(&record) else { return Ok(()) };
            let _ = process::decode(kind, &record);
            if let Ok(Some(plain)) = super::tls::decode(kind, &record) {
                prop_assert!((plain.head.len() + plain.tail.len()) as u64 <= plain.bytes);
            }
            let _ = file_io::decode(kind, &record);
            let _ = sqlite::Decoder::default().decode(kind, &record, &mut Vec::new());
            if let Ok(Some(socket::SocketEvent::Bytes(bytes))) = socket::decode(kind, &record) {
                prop_assert!(bytes.head.len() + bytes.tail.len() <= record.len());
            }
        }
    }

    /// Every kind belongs to exactly one room, and a record that is cut short belongs to none.
    #[test]
    fn every_kind_has_one_decoder() {
        for kind in Kind::ALL {
            let mut record = vec![0; 3000];
            record[16..20].copy_from_slice(&(*kind as u32).to_ne_bytes());
            assert_eq!(wire::kind_of(&record), Ok(*kind));
            let process = process::decode(*kind, &record).unwrap().is_some();
            let socket = socket::decode(*kind, &record).unwrap().is_some();
            let tls = super::tls::decode(*kind, &record).unwrap().is_some();
            let file = file_io::decode(*kind, &record).unwrap().is_some();
            let mut decoder = sqlite::Decoder::default();
            let sqlite = decoder.decode(*kind, &record, &mut Vec::new()).unwrap();
            assert_eq!([process, socket, tls, file, sqlite].iter().filter(|it| **it).count(), 1, "{kind:?}");
            let cut = &record[..24];
            let decoded = process::decode(*kind, cut).is_ok_and(|event| event.is_some())
                || socket::decode(*kind, cut).is_ok_and(|event| event.is_some())
                || super::tls::decode(*kind, cut).is_ok_and(|event| event.is_some())
                || file_io::decode(*kind, cut).is_ok_and(|event| event.is_some())
                || decoder.decode(*kind, cut, &mut Vec::new()).is_ok_and(|is_its| is_its);
            // The end of a process is its header alone.
            assert_eq!(decoded, *kind == Kind::Exit, "{kind:?}");
        }
    }

    /// A room brings along what it needs, a wrong name is told, and what is off has no hook of its own.
    #[test]
    fn rooms_are_selected_by_name() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(selection(&[], &[]), Ok(every_room()));
        assert_eq!(selection(&names(&["socket"]), &[]).map(|rooms| rooms.has(socket::SPEC.room)), Ok(true));
        let off = selection(&[], &names(&["socket"])).unwrap();
        assert!(hooks(off).all(|(spec, _)| spec.id != "socket"));
        assert_eq!(selection(&names(&["sockets"]), &[]), Err("sockets"));
    }

    /// A hook has exactly one owner, a program one attach point, a room one name.
    #[test]
    fn nothing_is_named_twice() {
        let unique = |names: Vec<&str>| {
            let set: BTreeSet<_> = names.iter().copied().collect();
            assert_eq!(set.len(), names.len(), "{names:?}");
        };
        unique(PROBES.iter().map(|spec| spec.id).collect());
        unique(hooks(every_room()).map(|(_, hook)| hook.tracepoint).collect());
        let functions = || super::functions(every_room()).map(|(_, function)| function);
        unique(functions().map(|function| function.symbol).collect());
        // One program may serve several functions, but never a tracepoint as well.
        let of_functions: BTreeSet<_> =
            functions().flat_map(|function| function.programs.iter().copied()).collect();
        let of_hooks = hooks(every_room()).flat_map(|(_, hook)| hook.again.into_iter().chain([hook.program]));
        unique(of_hooks.chain(of_functions).collect());
    }
}
