//! TCP listeners: `/proc/PID/net/tcp{,6}` (`proc_pid_net(5)`) joined with the sockets that processes hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::procfs;

/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const TCP_LISTEN: u8 = 10;

/// A listening TCP socket that a process holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Local port.
    pub port: u16,
    /// Local address.
    pub addr: IpAddr,
    /// Inode of the socket; unique in its network namespace and enough to find it again.
    pub inode: u64,
    /// Inode of the network namespace.
    pub netns: u64,
    /// Who holds it, ascending.
    pub pids: Vec<u32>,
}

/// One line of `/proc/net/tcp` that is a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Local address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// Inode of the socket.
    pub inode: u64,
}

/// The listeners of a `/proc/net/tcp` or `tcp6` text. Lines that are not understood are left out.
fn parse_listeners(text: &str) -> Vec<Row> {
    text.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if u8::from_str_radix(fields.get(3)?, 16).ok()? != TCP_LISTEN {
        return None;
    }
    let (addr, port) = fields.get(1)?.split_once(':')?;
    Some(Row {
        addr: parse_addr(addr)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints each 32-bit word of the address, which is in network order in memory, as a number
/// of the machine's own byte order.
fn parse_addr(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (chunk, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// The listeners in the network namespace of a process, IPv4 and IPv6; empty when it is gone.
pub(super) fn in_namespace_of(pid: u32) -> Vec<Row> {
    let texts = ["net/tcp", "net/tcp6"].map(|name| fs::read_to_string(procfs::path(pid, name)));
    texts.iter().flatten().flat_map(|text| parse_listeners(text)).collect()
}

/// The TCP listeners that these processes hold, each once, by port.
pub fn listeners(pids: &[u32]) -> Vec<Listener> {
    let mut rows_of: BTreeMap<u64, BTreeMap<u64, Row>> = BTreeMap::new();
    let mut found: BTreeMap<(u64, u64), Listener> = BTreeMap::new();
    for &pid in pids {
        let Ok(netns) = procfs::namespace(pid, "net") else { continue };
        let rows = rows_of
            .entry(netns)
            .or_insert_with(|| in_namespace_of(pid).into_iter().map(|row| (row.inode, row)).collect());
        for inode in socket_inodes(pid) {
            let Some(row) = rows.get(&inode) else { continue };
            found
                .entry((netns, inode))
                .or_insert_with(|| Listener {
                    port: row.port,
                    addr: row.addr,
                    inode,
                    netns,
                    pids: Vec::new(),
                })
                .pids
                .push(pid);
        }
    }
    let mut all: Vec<Listener> = found.into_values().collect();
    for listener in &mut all {
        listener.pids.sort_unstable();
        listener.pids.dedup();
    }
    all.sort();
    all
}

/// The sockets that a process holds; empty when it is gone or may not be looked at.
pub(super) fn socket_inodes(pid: u32) -> BTreeSet<u64> {
    let links = procfs::fd_links(pid).unwrap_or_default();
    links.iter().filter_map(|link| procfs::link_inode(link.as_os_str(), "socket")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn parse(line: &str) -> Vec<(String, u16, u64)> {
        let rows = parse_listeners(&format!("{HEAD}{line}\n"));
        rows.into_iter().map(|row| (row.addr.to_string(), row.port, row.inode)).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_have_the_right_byte_order() {
        let rest =
            "00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        for (local, expected, port) in [
            ("0100007F:1F90 00000000:0000", "127.0.0.1", 8080),
            ("0200A8C0:0050 00000000:0000", "192.168.0.2", 80),
            ("00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000", "::1", 8080),
            (
                "B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000",
                "2001:db8::1",
                443,
            ),
            (
                "0000000000000000FFFF00000100007F:0001 00000000000000000000000000000000:0000",
                "::ffff:127.0.0.1",
                1,
            ),
        ] {
            assert_eq!(parse(&format!("   0: {local} 0A {rest}")), [(expected.to_owned(), port, 4711)]);
        }
    }

    #[test]
    fn only_listeners_and_whole_lines() {
        for line in [
            "   0: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 0 0 4711 1",
            "   0: 0100007F:1F90 00000000:0000 0A",
            "   0: 0100:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1",
            "",
        ] {
            assert_eq!(parse(line), []);
        }
    }

    #[test]
    fn finds_our_own_listeners_on_both_families() {
        let pid = std::process::id();
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(addr) else { continue }; // A machine without IPv6.
            let local = listener.local_addr().unwrap();
            let found = listeners(&[pid]);
            let found = found.iter().find(|found| found.port == local.port()).unwrap();
            assert_eq!((found.addr, found.pids.as_slice()), (local.ip(), [pid].as_slice()));
        }
    }
}
