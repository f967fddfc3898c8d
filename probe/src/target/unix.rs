//! Unix-domain stream listeners: `/proc/PID/net/unix` (`proc_pid_net(5)`) joined with the sockets that processes hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{procfs, tcp::socket_inodes};

/// `__SO_ACCEPTCON` (include/linux/net.h): the socket listens.
const ACCEPTS: u32 = 1 << 16;
/// `SOCK_STREAM` (include/linux/net.h).
const STREAM: u32 = 1;

/// Inode numbers of the listeners that these processes hold, ascending.
pub fn listeners(pids: &[u32]) -> Vec<u64> {
    let mut of_namespace: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for &pid in pids {
        let Ok(netns) = procfs::namespace(pid, "net") else { continue };
        let inodes = of_namespace.entry(netns).or_insert_with(|| {
            fs::read_to_string(procfs::path(pid, "net/unix")).map(|text| parse(&text)).unwrap_or_default()
        });
        found.extend(socket_inodes(pid).into_iter().filter(|inode| inodes.contains(inode)));
    }
    found.into_iter().collect()
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn parse(text: &str) -> BTreeSet<u64> {
    let listener = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        if hex(3)? & ACCEPTS == 0 || hex(4)? != STREAM {
            return None;
        }
        fields.get(6)?.parse().ok()
    };
    text.lines().skip(1).filter_map(listener).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_in_text() {
        let text = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b.sock\n\
                    0000000000000000: 00000003 00000000 00000000 0001 03 12346 /run/a b.sock\n\
                    0000000000000000: 00000002 00000000 00010000 0005 01 12347 @seq\n\
                    0000000000000000: 00000002\n";
        assert_eq!(parse(text), BTreeSet::from([12345]));
    }

    #[test]
    fn a_listener_of_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        assert!(!listeners(&[std::process::id()]).is_empty());
    }
}
