//! Rules on probes: one probe is one room, under the same name in each of the crates, and no room knows another.

use std::collections::BTreeSet;

use super::source::{has_word, product_lines};
use super::{Tree, Violation, files};

const USER_ROOMS: &str = "probe/src/probes/";
/// Rooms without a kernel side of their own: they read what another room, or a library, delivers.
const HOST_ONLY: [&str; 4] = ["http", "gpu", "resources", "websocket"];
/// Where a room's other parts are. A large one is a folder with a mod.rs.
const KERNEL_PLACES: [&str; 2] = ["probe-common/src/", "probe-ebpf/src/"];
/// The kernel room that says who is watched: every hook of the others asks it first.
const KERNEL_BASE: &str = "process";
const TEST_PLACE: &str = "tests/kernel/";

/// Each room has all of its places.
pub(super) fn rooms(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for room in names(tree) {
        let kernel = if HOST_ONLY.contains(&room) { &[][..] } else { &KERNEL_PLACES };
        for place in kernel.iter().chain([&TEST_PLACE]) {
            let file = format!("{place}{room}.rs");
            if !tree.contains_key(&file) && !tree.contains_key(&format!("{place}{room}/mod.rs")) {
                found.push(Violation::new(&file, 0, format!("missing, but there is {USER_ROOMS}{room}/")));
            }
        }
    }
    found
}

/// A room uses what all rooms share, never another room: on both sides, but for [`KERNEL_BASE`].
pub(super) fn imports(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let rooms = names(tree);
    for &room in &rooms {
        let others: Vec<&str> = rooms.iter().copied().filter(|other| *other != room).collect();
        for (base, parents) in [(USER_ROOMS, ["super", "probes"]), ("probe-ebpf/src/", ["super", "crate"])] {
            for place in [format!("{base}{room}/"), format!("{base}{room}.rs")] {
                for (path, text) in files(tree, &place, ".rs") {
                    let is_allowed = |other: &&str| base != USER_ROOMS && *other == KERNEL_BASE;
                    let others: Vec<&str> =
                        others.iter().copied().filter(|other| !is_allowed(other)).collect();
                    found.extend(foreign(path, text, &others, &parents));
                }
            }
        }
    }
    found
}

/// The names of the rooms: the folders beside the trait's file.
fn names(tree: &Tree) -> BTreeSet<&str> {
    let folder =
        |path: &'_ str| path.strip_prefix(USER_ROOMS).and_then(|rest| rest.split_once('/')).is_some();
    tree.keys()
        .filter(|path| folder(path))
        .filter_map(|path| path[USER_ROOMS.len()..].split_once('/'))
        .map(|(room, _)| room)
        .collect()
}

/// Statements that reach through a parent module into another room.
fn foreign(path: &str, text: &str, others: &[&str], parents: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut statement = String::new();
    let mut first_line = 0;
    for (number, code) in product_lines(path, text) {
        if statement.is_empty() {
            first_line = number;
        }
        statement.push_str(code.trim());
        let is_import =
            ["use ", "pub use ", "pub(crate) use "].iter().any(|head| statement.starts_with(head));
        // An import may span lines; any other line is looked at alone.
        if is_import && !statement.contains(';') {
            continue;
        }
        for other in others {
            let direct = |parent: &&str| has_word(&statement, &format!("{parent}::{other}"));
            let in_braces = is_import
                && parents.iter().any(|parent| has_word(&statement, &format!("{parent}::{{")))
                && has_word(&statement, other);
            if in_braces || parents.iter().any(direct) {
                found.push(Violation::new(
                    path,
                    first_line,
                    format!("uses the room `{other}`; only shared parts may"),
                ));
            }
        }
        statement.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    const SOCKET: [(&str, &str); 4] = [
        (
            "probe/src/probes/socket/mod.rs",
            "//! x\nuse super::wire::Reader;\nuse probe_common::process::Raw;\n",
        ),
        ("probe-common/src/socket.rs", "//! x\n"),
        ("probe-ebpf/src/socket/mod.rs", "//! x\nuse crate::shared::emit;\n"),
        ("tests/kernel/socket/mod.rs", "//! x\n"),
    ];
    const HTTP: [(&str, &str); 2] =
        [("probe/src/probes/http/parse.rs", "//! x\n"), ("tests/kernel/http/mod.rs", "//! x\n")];

    #[test]
    fn rooms_are_complete() {
        let both = [SOCKET.as_slice(), &HTTP].concat();
        assert_eq!(rooms(&tree(&both)), []);
        for (gone, _) in &SOCKET[1..] {
            let files: Vec<_> = SOCKET.into_iter().filter(|(path, _)| path != gone).collect();
            assert_eq!(rooms(&tree(&files)).len(), 1, "without {gone}");
        }
        assert_eq!(rooms(&tree(&HTTP[..1])).len(), 1, "http needs its test");
    }

    #[test]
    fn rooms_are_strangers() {
        let both = [SOCKET.as_slice(), &HTTP].concat();
        assert_eq!(imports(&tree(&both)), []);
        for text in [
            "use super::super::socket::Conn;\n",
            "use crate::probes::{wire, socket::Conn};\n",
            "use crate::probes::{\n    wire,\n    socket::Conn,\n};\n",
            "fn f() -> super::socket::Conn {\n",
        ] {
            let mut files = both.clone();
            files.push(("probe/src/probes/http/decode.rs", text));
            assert_eq!(imports(&tree(&files)).len(), 1, "{text}");
        }
        let mut files = both;
        files.push(("probe-ebpf/src/socket/read.rs", "use crate::http::is_head;\n"));
        assert_eq!(imports(&tree(&files)).len(), 1);
        files.push(("probe/src/probes/process/mod.rs", "//! x\n"));
        files.push(("probe-ebpf/src/socket/ask.rs", "use crate::{process, shared::emit};\n"));
        assert_eq!(imports(&tree(&files)).len(), 1, "the base room may be asked");
        files.push(("probe/src/probes/socket/ask.rs", "use super::super::process;\n"));
        assert_eq!(imports(&tree(&files)).len(), 2, "but only in the kernel");
    }
}
