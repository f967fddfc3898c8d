//! The only file that knows kernel structs: typed questions, answered by bounded reads.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use probe_common::kern::KernOffsets;

/// Written by user space before the object is loaded, from the running kernel's BTF.
#[unsafe(no_mangle)]
static KERN: KernOffsets = KernOffsets::NONE;

/// Reads an offset as the verifier's constant; a plain read would be folded to the zero written above.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a plain static of this object, never written after load.
        u64::from(unsafe { core::ptr::read_volatile(&raw const KERN.$field) })
    };
}

pub(crate) mod file;

/// Reads a value of kernel memory; none when the address is not readable.
#[inline(always)]
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// `AF_INET`, `AF_INET6` (include/linux/socket.h), `SOCK_STREAM` (include/linux/net.h).
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;

/// `O_NONBLOCK` (include/uapi/asm-generic/fcntl.h).
const O_NONBLOCK: u32 = 0o4000;

/// TCP states (include/net/tcp_states.h).
pub(crate) mod tcp_state {
    pub(crate) const ESTABLISHED: u64 = 1;
    pub(crate) const SYN_RECV: u64 = 3;
    pub(crate) const CLOSE: u64 = 7;
    pub(crate) const CLOSE_WAIT: u64 = 8;
    pub(crate) const LISTEN: u64 = 10;
}

/// A TCP socket found behind a file descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Sock {
    /// Address of its `struct sock`.
    pub(crate) sk: u64,
    /// The descriptor is in non-blocking mode.
    pub(crate) nonblock: bool,
}

/// The TCP socket behind a descriptor of the current task; none for anything else.
///
/// Walks `task → files → fdt → fd[n] → socket → sock`. No table of descriptors is kept, so dup, fork,
/// SCM_RIGHTS and connections older than the attach need no bookkeeping that could go wrong.
#[inline(always)]
pub(crate) fn tcp_sock_of_fd(fd: u64) -> Option<Sock> {
    tcp_sock_of(file::of_fd(fd)?)
}

/// The TCP socket that an open file is; none for anything else.
#[inline(always)]
pub(crate) fn tcp_sock_of(file: u64) -> Option<Sock> {
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
    if kind != SOCK_STREAM || (family != AF_INET && family != AF_INET6) {
        return None;
    }
    let flags: u32 = read(file + offset!(file_flags))?;
    Some(Sock { sk, nonblock: flags & O_NONBLOCK != 0 })
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
