//! The only file that knows kernel structs: typed questions, answered by bounded reads.

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_probe_read_kernel as probe_read_kernel};
use probe_common::{
    rungs::Missing,
    socket::{AF_INET, AF_INET6, AF_UNIX, MAX_ADDRESS},
};

use super::{bounds::opaque, kfunc, rungs::is_missing};

/// Where a member stands in its struct.
macro_rules! offset {
    ($field:ident) => {
        $crate::shared::constants::constant!(kern.$field)
    };
}

pub(crate) mod block;
pub(crate) mod file;

/// Reads a value of kernel memory. Of an address that is not readable it is 0, or none where only the helper can read.
#[inline(always)]
pub(super) fn read<T: Copy>(address: u64) -> Option<T> {
    if is_missing(Missing::DIRECT_READS) {
        // SAFETY: the helper checks the address and fails instead of faulting.
        return unsafe { bpf_probe_read_kernel(address as *const T) }.ok();
    }
    // SAFETY: the kernel makes 0 of what such a read cannot get. What is read is plain numbers: any bits are a value.
    Some(unsafe { *kfunc::readable::<T>(address) })
}

/// include/linux/net.h
const SOCK_STREAM: u16 = 1;
/// See [`SOCK_STREAM`].
const SOCK_DGRAM: u16 = 2;

/// `O_NONBLOCK` (include/uapi/asm-generic/fcntl.h).
const O_NONBLOCK: u32 = 0o4000;

/// TCP states (include/net/tcp_states.h).
pub(crate) mod tcp_state {
    pub(crate) const ESTABLISHED: u64 = 1;
    pub(crate) const SYN_SENT: u64 = 2;
    pub(crate) const SYN_RECV: u64 = 3;
    pub(crate) const CLOSE: u64 = 7;
    pub(crate) const CLOSE_WAIT: u64 = 8;
    pub(crate) const LISTEN: u64 = 10;
}

/// What a socket carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// TCP.
    Tcp,
    /// A Unix-domain stream.
    Unix,
    /// UDP.
    Datagrams,
}

/// A socket found behind a file descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Sock {
    /// Address of its `struct sock`.
    pub(crate) sk: u64,
    /// What it is.
    pub(crate) carries: Carries,
    /// The descriptor is in non-blocking mode.
    pub(crate) nonblock: bool,
}

/// The TCP socket behind a descriptor of the current task; none for anything else.
#[inline(always)]
pub(crate) fn tcp_sock_of_fd(fd: u64) -> Option<Sock> {
    sock_of_fd(fd).filter(|sock| sock.carries == Carries::Tcp)
}

/// The TCP, UDP or Unix-domain stream socket behind a descriptor of the current task; none for anything else.
///
/// Walks `task → files → fdt → fd[n] → socket → sock`. No table of descriptors is kept, so dup, fork,
/// SCM_RIGHTS and connections older than the attach need no bookkeeping that could go wrong.
#[inline(always)]
pub(crate) fn sock_of_fd(fd: u64) -> Option<Sock> {
    sock_of(file::of_fd(fd)?)
}

/// The TCP, UDP or Unix-domain stream socket that an open file is; none for anything else.
#[inline(always)]
pub(crate) fn sock_of(file: u64) -> Option<Sock> {
    let socket: u64 = read(file + offset!(file_private_data))?;
    if socket == 0 {
        return None;
    }
    // Only a socket's private data points back to its file.
    let back: u64 = read(socket + offset!(socket_file))?;
    if back != file {
        return None;
    }
    let kind: u16 = read(socket + offset!(socket_type))?;
    let sk: u64 = read(socket + offset!(socket_sk))?;
    let family: u16 = read(sk + offset!(skc_family))?;
    let carries = match (kind, family) {
        (SOCK_STREAM, AF_INET | AF_INET6) => Carries::Tcp,
        (SOCK_STREAM, AF_UNIX) => Carries::Unix,
        (SOCK_DGRAM, AF_INET | AF_INET6) => Carries::Datagrams,
        _ => return None,
    };
    let flags: u32 = read(file + offset!(file_flags))?;
    Some(Sock { sk, carries, nonblock: flags & O_NONBLOCK != 0 })
}

/// Address family of a socket.
#[inline(always)]
pub(crate) fn family(sk: u64) -> Option<u16> {
    read(sk + offset!(skc_family))
}

/// Peer of a TCP socket: port in host order, and where its address lies with its length.
#[inline(always)]
pub(crate) fn peer(sk: u64, family: u16) -> Option<(u16, u64, usize)> {
    let port = u16::from_be(read(sk + offset!(skc_dport))?);
    Some(if family == AF_INET6 {
        (port, sk + offset!(skc_v6_daddr), 16)
    } else {
        (port, sk + offset!(skc_daddr), 4)
    })
}

/// The `struct unix_address` of a bound Unix-domain socket, or of one that its listener made: they share it. None
/// for sockets without a name.
#[inline(always)]
pub(crate) fn unix_address(sk: u64) -> Option<u64> {
    read(sk + offset!(unix_addr)).filter(|address| *address != 0)
}

/// The same of the other end's socket.
#[inline(always)]
pub(crate) fn unix_peer_address(sk: u64) -> Option<u64> {
    let peer: u64 = read(sk + offset!(unix_peer))?;
    if peer == 0 { None } else { unix_address(peer) }
}

/// Where the path of a `struct unix_address` lies, and its length.
#[inline(always)]
pub(crate) fn unix_path(address: u64) -> Option<(u64, usize)> {
    let len: u32 = read(address + offset!(unix_name_len))?;
    // `sockaddr_un` begins with the family.
    Some((address + offset!(unix_name) + 2, (len as usize).saturating_sub(2)))
}

/// Buffers that wait in a socket's receive queue; connections, for a Unix-domain listener.
#[inline(always)]
pub(crate) fn queued(sk: u64) -> Option<u32> {
    read(sk + offset!(sk_receive_queue) + offset!(skb_head_qlen))
}

/// Inode number of a socket that has a descriptor.
#[inline(always)]
pub(crate) fn inode(sk: u64) -> Option<u64> {
    let socket: u64 = read(sk + offset!(sk_socket))?;
    if socket == 0 {
        return None;
    }
    // `struct socket` stands first in its `struct socket_alloc`.
    read(socket + offset!(socket_inode) + offset!(inode_number))
}

/// Copies kernel memory; false when it is not readable.
#[inline(always)]
pub(crate) fn copy(to: &mut [u8; MAX_ADDRESS], from: u64, len: usize) -> bool {
    // The mask is for the verifier of 5.10.
    let len = opaque(len) & (MAX_ADDRESS - 1);
    // SAFETY: `len` is within the destination; the helper checks the source.
    unsafe { probe_read_kernel(to.as_mut_ptr().cast(), len as u32, from as *const _) == 0 }
}

/// Local port of a socket, host order. (`skc_num` would be cheaper by nothing, and is 0 once TCP has closed.)
#[inline(always)]
pub(crate) fn local_port(sk: u64) -> Option<u16> {
    read(sk + offset!(inet_sport)).map(u16::from_be)
}

/// TCP state of a socket.
#[inline(always)]
pub(crate) fn state(sk: u64) -> Option<u8> {
    read(sk + offset!(skc_state))
}

/// Error that a socket bears, 0 for none.
#[inline(always)]
pub(crate) fn error(sk: u64) -> Option<u32> {
    read(sk + offset!(sk_err))
}

/// Where a TCP socket leads to: port in host order, and its address, an IPv4 one in the first four bytes.
#[inline(always)]
pub(crate) fn peer_address(sk: u64, family: u16) -> Option<(u16, [u8; 16])> {
    let (port, at, len) = peer(sk, family)?;
    if len == 16 {
        return Some((port, read(at)?));
    }
    let mut address = [0; 16];
    address[..4].copy_from_slice(&read::<[u8; 4]>(at)?);
    Some((port, address))
}

/// Connections in a listener's accept queue.
#[inline(always)]
pub(crate) fn ack_backlog(sk: u64) -> Option<u32> {
    read(sk + offset!(sk_ack_backlog))
}

/// Everything received has been read by the application.
#[inline(always)]
pub(crate) fn receive_queue_is_empty(sk: u64) -> Option<bool> {
    let rcv_nxt: u32 = read(sk + offset!(tcp_rcv_nxt))?;
    let copied: u32 = read(sk + offset!(tcp_copied_seq))?;
    Some(rcv_nxt == copied)
}

/// Next sequence number expected from the peer.
#[inline(always)]
pub(crate) fn rcv_nxt(sk: u64) -> Option<u32> {
    read(sk + offset!(tcp_rcv_nxt))
}

/// Sequence number behind the last byte that was handed to TCP.
#[inline(always)]
pub(crate) fn write_seq(sk: u64) -> Option<u32> {
    read(sk + offset!(tcp_write_seq))
}

/// The acknowledged sequence number, if the peer has acknowledged everything that was sent.
#[inline(always)]
pub(crate) fn all_acknowledged(sk: u64) -> Option<u32> {
    let written: u32 = read(sk + offset!(tcp_write_seq))?;
    let acked: u32 = read(sk + offset!(tcp_snd_una))?;
    (written == acked).then_some(acked)
}

/// What a TCP segment says.
pub(crate) struct Segment {
    /// Sequence number of its first byte.
    pub(crate) seq: u32,
    /// Acknowledgement number.
    pub(crate) ack: u32,
    /// Payload bytes.
    pub(crate) payload: u32,
}

/// The first 16 bytes of a TCP header, network order (RFC 9293, 3.1).
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpHeader {
    ports: u32,
    seq: u32,
    ack: u32,
    offset_flags_window: u32,
}

/// The segment in a buffer whose data begins at the TCP header, as in `tcp_rcv_established`.
#[inline(always)]
pub(crate) fn segment(skb: u64) -> Option<Segment> {
    let len: u32 = read(skb + offset!(skb_len))?;
    let data: u64 = read(skb + offset!(skb_data))?;
    let header: TcpHeader = read(data)?;
    let header_len = (u32::from_be(header.offset_flags_window) >> 28) * 4;
    Some(Segment {
        seq: u32::from_be(header.seq),
        ack: u32::from_be(header.ack),
        payload: len.saturating_sub(header_len),
    })
}

/// Thread id and thread group id of a task.
#[inline(always)]
pub(crate) fn task_ids(task: u64) -> Option<(u32, u32)> {
    Some((read(task + offset!(task_pid))?, read(task + offset!(task_tgid))?))
}

/// A byte-range lock that somebody asks for.
pub(crate) struct FileLock {
    /// Address of the `struct file`.
    pub(crate) file: u64,
    /// First byte.
    pub(crate) start: u64,
    /// Last byte.
    pub(crate) end: u64,
    /// `F_RDLCK`, `F_WRLCK`, `F_UNLCK`.
    pub(crate) kind: u8,
}

/// What a `struct file_lock` says.
#[inline(always)]
pub(crate) fn file_lock(lock: u64) -> Option<FileLock> {
    Some(FileLock {
        file: read(lock + offset!(lock_file))?,
        start: read(lock + offset!(lock_start))?,
        end: read(lock + offset!(lock_end))?,
        kind: read(lock + offset!(lock_type))?,
    })
}
