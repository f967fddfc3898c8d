//! Queues of listening sockets from the kernel's socket statistics (`sock_diag(7)`): how many connections
//! wait, how many may, and how many were dropped.
//!
//! A drop counts in `sk_drops` of the listener: a SYN or the handshake's last ACK that found the accept
//! queue full. A client repeats either, so one client can be dropped more than once. The count is that of
//! the socket's whole life (a run takes differences) and is gone with the socket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::thread;

use anyhow::{Context, anyhow, bail};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla,
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use nix::sched::{CloneFlags, setns};

use super::procfs;

/// A listening socket's queue at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Local address.
    pub addr: IpAddr,
    /// Local port.
    pub port: u16,
    /// Connections that wait for `accept`.
    pub backlog: u32,
    /// How many may wait (`listen`'s argument capped by `net.core.somaxconn`; one more fits in).
    pub backlog_limit: u32,
    /// Dropped at this listener since it began to listen; wraps at 2^32.
    pub drops: u32,
}

/// Which socket: inodes of its network namespace and of itself, as in [`super::Listener`].
pub type SocketKey = (u64, u64);

/// Open questions to the kernel, one socket per network namespace: a socket stays in the namespace in
/// which it was made.
#[derive(Debug, Default)]
pub struct Diag {
    sockets: BTreeMap<u64, Socket>,
}

impl Diag {
    /// Makes sure that the network namespace of a process is covered. Cheap when it is already.
    ///
    /// # Errors
    /// Where the process is gone, or another namespace than ours may not be entered (`CAP_SYS_ADMIN`).
    pub fn cover(&mut self, pid: u32) -> anyhow::Result<()> {
        let netns = procfs::namespace(pid, "net")
            .with_context(|| format!("failed to read the network namespace of process `{pid}`"))?;
        if self.sockets.contains_key(&netns) {
            return Ok(());
        }
        let socket = if procfs::own_namespace("net").is_ok_and(|own| own == netns) {
            open().context("failed to open a socket statistics socket")?
        } else {
            open_in(pid).with_context(|| {
                format!(
                    "failed to open a socket statistics socket in the network namespace of process `{pid}`"
                )
            })?
        };
        self.sockets.insert(netns, socket);
        Ok(())
    }

    /// The queues of all TCP listeners in the covered namespaces.
    ///
    /// # Errors
    /// Where the kernel refuses or answers what cannot be understood.
    pub fn read(&self) -> anyhow::Result<BTreeMap<SocketKey, Queue>> {
        let mut queues = BTreeMap::new();
        for (&netns, socket) in &self.sockets {
            for family in [AF_INET, AF_INET6] {
                for (inode, queue) in dump(socket, family).context("failed to read socket statistics")? {
                    queues.insert((netns, inode), queue);
                }
            }
        }
        Ok(queues)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A thread of its own enters the namespace, since a thread cannot be sure to get back.
fn open_in(pid: u32) -> anyhow::Result<Socket> {
    let netns = File::open(procfs::path(pid, "ns/net"))?;
    let inside = thread::spawn(move || -> io::Result<Socket> {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        open()
    });
    Ok(inside.join().map_err(|_| anyhow!("the thread for it ended"))??)
}

fn dump(socket: &Socket, family: u8) -> anyhow::Result<Vec<(u64, Queue)>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::SKMEMINFO,
        states: StateFlags::LISTEN,
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut queues = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        if parse_answer(&answer, &mut queues)? {
            return Ok(queues);
        }
    }
}

/// Takes in one datagram; true when it was the last.
fn parse_answer(datagram: &[u8], queues: &mut Vec<(u64, Queue)>) -> anyhow::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) if error.code.is_some() => bail!(error.to_io()),
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                queues.push(queue(&response));
            }
            _ => {}
        }
        // Messages are padded to four bytes; a length of less than a header would not get on.
        let length = (message.header.length as usize).next_multiple_of(4).max(16);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(false)
}

fn queue(response: &InetResponse) -> (u64, Queue) {
    let header = &response.header;
    let drops = response.nlas.iter().find_map(|attribute| match attribute {
        Nla::MemInfo(memory) => Some(memory.drops),
        _ => None,
    });
    let queue = Queue {
        addr: header.socket_id.source_address,
        port: header.socket_id.source_port,
        backlog: header.recv_queue,
        backlog_limit: header.send_queue,
        drops: drops.unwrap_or_default(),
    };
    (header.inode.into(), queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::listeners;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    /// A listener with room for one waiting connection (two fit in), that never accepts.
    fn tiny_listener(host: &str) -> Option<tokio::net::TcpListener> {
        let addr: SocketAddr = format!("{host}:0").parse().unwrap();
        let socket =
            if addr.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
        let socket = socket.ok()?; // A machine without IPv6.
        socket.bind(addr).ok()?;
        Some(socket.listen(1).unwrap())
    }

    fn queue_of(port: u16, diag: &Diag) -> Queue {
        let pid = std::process::id();
        let found = listeners(&[pid]);
        let listener = found.iter().find(|listener| listener.port == port).unwrap();
        let queue = diag.read().unwrap()[&(listener.netns, listener.inode)];
        assert_eq!((queue.addr, queue.port), (listener.addr, port));
        queue
    }

    /// Connects so many times, each time with one SYN: it is repeated after a second only.
    fn knock(addr: SocketAddr, times: usize) -> Vec<TcpStream> {
        let knock_once = || TcpStream::connect_timeout(&addr, Duration::from_millis(1)).ok();
        (0..times).filter_map(|_| knock_once()).collect()
    }

    #[tokio::test]
    async fn an_overflow_is_counted_on_its_listener() {
        for host in ["127.0.0.1", "[::1]"] {
            let Some(listener) = tiny_listener(host) else { continue };
            let addr = listener.local_addr().unwrap();
            let bystander = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut diag = Diag::default();
            diag.cover(std::process::id()).unwrap();

            let before = queue_of(addr.port(), &diag);
            assert_eq!((before.backlog, before.backlog_limit, before.drops), (0, 1, 0));
            // Two fit in; the eight others find the queue full.
            let clients = knock(addr, 10);
            assert_eq!(clients.len(), 2);
            let after = queue_of(addr.port(), &diag);
            assert_eq!((after.backlog, after.drops), (2, 8));
            assert_eq!(queue_of(bystander.local_addr().unwrap().port(), &diag).drops, 0);
        }
    }

    #[test]
    fn a_namespace_is_covered_once_and_a_missing_process_is_an_error() {
        let mut diag = Diag::default();
        diag.cover(std::process::id()).unwrap();
        diag.cover(std::process::id()).unwrap();
        assert_eq!(diag.sockets.len(), 1);
        let error = diag.cover(4_194_305).unwrap_err();
        assert!(format!("{error:#}").contains("failed to read the network namespace"));
    }

    #[test]
    fn damaged_answers_do_not_panic_or_hang() {
        let mut queues = Vec::new();
        for datagram in
            [&[][..], &[0; 3], &[0; 16], &[255; 40], &[16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            let _ = parse_answer(datagram, &mut queues);
        }
        assert_eq!(queues, []);
    }
}
