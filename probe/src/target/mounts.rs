//! Where mounts are mounted: from a mount's id to its place in the tree of names of a process.

use std::{
    collections::HashMap,
    fs,
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

use crate::probes::path::{MountPath, printable};

/// Mounts come and go, and ids are used again: nothing is believed for longer.
const FRESH: Duration = Duration::from_secs(5);
/// An unknown id is looked for this often.
const RETRY: Duration = Duration::from_millis(500);
/// Containers of one target; beyond, the oldest knowledge is dropped.
const MAX_NAMESPACES: usize = 256;

/// The mount tables of the target's mount namespaces.
#[derive(Debug, Default)]
pub struct Mounts {
    /// Namespace of a process, kept beyond its end: its last files are named after it is gone.
    namespaces: HashMap<u32, u64>,
    /// Of a namespace, its mounts and when they were read.
    tables: HashMap<u64, (Instant, HashMap<u32, String>)>,
}

impl Mounts {
    /// The whole path of a file of a process. Of a path that is cut, or that hangs on no mount that the process can see,
    /// the missing part stands as `…`.
    pub fn resolve(&mut self, pid: u32, path: &MountPath) -> String {
        let point = if path.is_cut || path.is_detached { None } else { self.point(pid, path.mount) };
        match point.as_deref() {
            None => format!("…/{}", path.names),
            Some("/") => format!("/{}", path.names),
            Some(point) if path.names.is_empty() => point.to_owned(),
            Some(point) => format!("{point}/{}", path.names),
        }
    }

    /// The mount point of a mount, as the process sees it.
    fn point(&mut self, pid: u32, mount: u32) -> Option<String> {
        let namespace = self.namespace(pid)?;
        let known = self.tables.get(&namespace);
        if let Some((read, points)) = known {
            let point = points.get(&mount);
            if read.elapsed() < if point.is_some() { FRESH } else { RETRY } {
                return point.cloned();
            }
        }
        // A process that is gone has no table any more, but what was read before still holds.
        if let Ok(text) = fs::read(format!("/proc/{pid}/mountinfo")) {
            if self.tables.len() >= MAX_NAMESPACES {
                self.tables.clear();
            }
            self.tables.insert(namespace, (Instant::now(), parse(&text)));
        }
        self.tables.get(&namespace)?.1.get(&mount).cloned()
    }

    fn namespace(&mut self, pid: u32) -> Option<u64> {
        let now = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok().and_then(|link| {
            let digits: Vec<u8> =
                link.as_os_str().as_bytes().iter().copied().filter(u8::is_ascii_digit).collect();
            std::str::from_utf8(&digits).ok()?.parse().ok()
        });
        if let Some(now) = now {
            if self.namespaces.len() >= 64 * MAX_NAMESPACES {
                self.namespaces.clear();
            }
            self.namespaces.insert(pid, now);
        }
        now.or_else(|| self.namespaces.get(&pid).copied())
    }
}

/// `36 35 98:0 /root /point options … - type source options`: id and mount point of each line (proc(5)).
fn parse(mountinfo: &[u8]) -> HashMap<u32, String> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            let point = fields.nth(3)?;
            Some((id, printable(&unescape(point))))
        })
        .collect()
}

/// Blank, tab, line break and backslash stand as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = escaped.filter(|_| *first == b'\\') {
            out.push(byte);
            rest = &after[3..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(mount: u32, names: &str) -> MountPath {
        MountPath { mount, names: names.to_owned(), is_cut: false, is_detached: false }
    }

    #[test]
    fn mount_points_are_read() {
        let points = parse(b"28 1 254:0 / / rw - ext4 /dev/vda rw\n30 28 0:5 /sub /a\\040b rw,nosuid shared:2 - devtmpfs none rw\n\nx\n");
        assert_eq!(points.len(), 2);
        assert_eq!((points[&28].as_str(), points[&30].as_str()), ("/", "/a b"));
        assert_eq!(unescape(b"\\134x\\9\\"), b"\\x\\9\\");
    }

    /// Our own root, and what cannot be known.
    #[test]
    fn paths_are_completed() {
        let me = std::process::id();
        let text = fs::read("/proc/self/mountinfo").unwrap();
        let points = parse(&text);
        let root = points.iter().find(|(_, point)| *point == "/").map(|(id, _)| *id).unwrap();
        let mut mounts = Mounts::default();
        assert_eq!(mounts.resolve(me, &path(root, "etc/x")), "/etc/x");
        assert_eq!(mounts.resolve(me, &path(u32::MAX, "x")), "…/x");
        let cut = MountPath { is_cut: true, ..path(root, "x") };
        assert_eq!(mounts.resolve(me, &cut), "…/x");
    }

    proptest! {
        #[test]
        fn any_table_is_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
