//! The socket room: connections of the traced tree, the bytes at request boundaries, and statistics of
//! the accept, receive and send calls.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{header::Header, hist::Durations};

/// Most bytes of one read that are handed up: a request head, with its cookies.
pub const RECV_CAPTURE: usize = 4096;
/// Bytes of a read beyond [`RECV_CAPTURE`] that does not begin like a request (a piece of a body).
pub const RECV_BODY_CAPTURE: usize = 128;
/// Most bytes of one write that are handed up: a response head.
pub const SEND_CAPTURE: usize = 1024;
/// Bytes of a larger write that does not begin like a response: room for a chunk's size line.
pub const SEND_BODY_CAPTURE: usize = 64;
/// Calls on an upgraded connection go up in pieces of so many bytes.
pub const UPGRADED_PIECE: usize = 4 * RECV_CAPTURE;
/// Most pieces of one call that go up.
pub const UPGRADED_PIECES: u64 = 4;
/// Last bytes of a write that is longer than its capture: room for a chunked body's end.
pub const TAIL_CAPTURE: usize = 16;
/// Last bytes of a read that is longer than its capture: a chunked body's end, and the request behind it.
pub const RECV_TAIL_CAPTURE: usize = 1024;
/// I/O vectors of one call that are looked at.
pub const MAX_IOVECS: usize = 8;

/// The connection's local port is one on which the traced tree listens.
pub const CONN_SERVER: u32 = 1 << 0;
/// The socket is in non-blocking mode (`O_NONBLOCK`, when last looked at).
pub const CONN_NONBLOCK: u32 = 1 << 1;
/// The mode has been looked at: at the first read and at every write. (At the return of accept it is too
/// early: asyncio sets it afterwards.)
pub const CONN_MODE_KNOWN: u32 = 1 << 2;
/// `accept` returned this connection while we watched.
pub const CONN_ACCEPTED: u32 = 1 << 3;
/// The connection was ended by a reset (straight from `ESTABLISHED` or `CLOSE_WAIT` to `CLOSE`).
pub const CONN_RESET: u32 = 1 << 4;

/// The handshake's end was seen, so that an `accept` would have been, too.
pub const CONN_HANDSHAKE: u32 = 1 << 5;
/// TCP has closed it. Calls that were under way may still return its bytes: the entry stays until the address is
/// used again.
pub const CONN_CLOSED: u32 = 1 << 6;

/// A Unix-domain stream socket; without it the connection is TCP.
pub const CONN_UNIX: u32 = 1 << 7;
/// A connection of which bytes go up though its role alone does not say so: one that the tree made itself, or a
/// Unix-domain one. A request began on it, or TLS.
pub const CONN_FOLLOWED: u32 = 1 << 8;
/// It has left HTTP: a write began with status 101. Its bytes go up whole, and so do acknowledgements.
pub const CONN_UPGRADED: u32 = 1 << 9;
/// The tree asked for it, and the handshake is under way.
pub const CONN_CONNECTING: u32 = 1 << 10;

/// Whether a connection is in the sample that a mask of low bits leaves: one in `mask + 1`, all for 0. Both sides decide by
/// this, and a mask with one more bit leaves a part of the sample before it: whoever is still in it always was.
///
/// An id is a time and a processor, of which no bit is even: this is the finalizer of MurmurHash3, after which each one is.
#[inline(always)]
#[must_use]
pub const fn is_in_sample(conn: u64, mask: u32) -> bool {
    if mask == 0 {
        return true;
    }
    let mixed = (conn ^ (conn >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed >> 33) & mask as u64 == 0
}

/// Room for an address: `sun_path` of a Unix-domain socket has 108 bytes; a power of two for the verifier.
pub const MAX_ADDRESS: usize = 128;

/// `AF_UNIX`, `AF_INET`, `AF_INET6` (include/linux/socket.h).
pub const AF_UNIX: u16 = 1;
/// See [`AF_UNIX`].
pub const AF_INET: u16 = 2;
/// See [`AF_UNIX`].
pub const AF_INET6: u16 = 10;

/// Where a connection leads: its peer, or the Unix-domain listener that it came in by. Comes before its bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct PeerRaw {
    /// Who used the connection first.
    pub header: Header,
    /// The connection.
    pub conn: u64,
    /// `AF_*`.
    pub family: u16,
    /// The peer's port, host order.
    pub port: u16,
    /// Bytes of `address` that count.
    pub len: u32,
    /// The IP address, or the path.
    pub address: [u8; MAX_ADDRESS],
    /// `CONN_*` bits.
    pub flags: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// What the kernel side remembers about a connection: the value of the `CONNS` map, keyed by the
/// address of the kernel's `struct sock`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Conn {
    /// Unique in a run; a socket address is reused, an id is not.
    pub id: u64,
    /// Handshake complete, nanoseconds; 0 when it was before the attach.
    pub established_ns: u64,
    /// Arrival of the oldest byte that the application has not read, nanoseconds; 0 for unknown.
    pub arrival_ns: u64,
    /// Unix-domain sockets: the latest arrival, nanoseconds.
    pub ready_ns: u64,
    /// When `acked_seq` last grew, nanoseconds; 0 for never.
    pub acked_ns: u64,
    /// Highest sequence number that the peer acknowledged.
    pub acked_seq: u32,
    /// Local port, host order.
    pub port: u32,
    /// `CONN_*` bits.
    pub flags: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// `accept` returned a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct AcceptRaw {
    /// Who accepted, at the return of the call.
    pub header: Header,
    /// The connection.
    pub conn: u64,
    /// Handshake complete, nanoseconds; 0 when it was before the attach.
    pub established_ns: u64,
    /// Connections that waited in this listener's queue before this call took one.
    pub backlog: u32,
    /// Port of the listener, host order.
    pub port: u32,
}

/// Bytes moved through a connection: one read or one write that moved at least one byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct DataHead {
    /// Who called, at the return of the call.
    pub header: Header,
    /// The connection.
    pub conn: u64,
    /// Entry of the call, nanoseconds; 0 when it was before the attach.
    pub enter_ns: u64,
    /// Reads: when the first of these bytes became readable, nanoseconds; 0 for unknown.
    pub arrival_ns: u64,
    /// Reads: when the peer had acknowledged all that was sent so far, nanoseconds; 0 for not, or unknown.
    pub acked_ns: u64,
    /// The call's return value.
    pub bytes: u64,
    /// Local port, host order.
    pub port: u32,
    /// `CONN_*` bits.
    pub flags: u32,
    /// Captured from the start of the data.
    pub head_len: u32,
    /// Captured from the end of the data, behind the head; 0 when the head holds everything.
    pub tail_len: u32,
    /// Writes: TCP sequence number behind the last byte; 0 where it is not known.
    pub end_seq: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// The peer of an upgraded connection acknowledged bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct AckedRaw {
    /// When; pid and tid are 0 (softirq context).
    pub header: Header,
    /// The connection.
    pub conn: u64,
    /// Everything below this sequence number.
    pub seq: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// A [`DataHead`] with its bytes; the ring record ends after `head_len + tail_len` of them.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
pub struct DataRaw {
    /// The fixed part.
    pub head: DataHead,
    /// The bytes; thrice the longest capture, so that any masked offset (less than one) plus any masked length (less
    /// than two) fits.
    pub bytes: [u8; 4 * RECV_CAPTURE],
}

/// A change of a connection's state.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct ConnRaw {
    /// When; pid and tid are 0 (softirq context).
    pub header: Header,
    /// The connection.
    pub conn: u64,
    /// When the peer had acknowledged all that was sent, nanoseconds; 0 for not, or unknown.
    pub acked_ns: u64,
    /// `CONN_*` bits.
    pub flags: u32,
    /// Local port, host order.
    pub port: u32,
}

/// A TCP connection that the traced tree asked for and did not get.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct UnconnectedRaw {
    /// When; pid and tid are 0 (mostly softirq context).
    pub header: Header,
    /// The peer's IP address; an IPv4 one in the first four bytes.
    pub address: [u8; 16],
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// The peer's port, host order.
    pub port: u16,
    /// The error number that the socket bears, 0 where the application gave up.
    pub error: u32,
}

/// The traced tree began to listen on a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes)]
pub struct ListenRaw {
    /// Who called listen.
    pub header: Header,
    /// The port, host order.
    pub port: u32,
    /// No implicit padding.
    pub reserved: u32,
}

/// The calls that are counted.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// accept, accept4
    Accept = 0,
    /// read, readv, recvfrom, recvmsg, splice
    Recv = 1,
    /// write, writev, sendto, sendmsg, sendfile, splice
    Send = 2,
}

impl Op {
    /// Every op, in index order.
    pub const ALL: &[Self] = &[Self::Accept, Self::Recv, Self::Send];
}

/// Whose socket a counted call was on.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A TCP connection to a port on which the tree listens, or that listener itself.
    Server = 0,
    /// Any other TCP socket.
    Client = 1,
}

impl Role {
    /// Every role, in index order.
    pub const ALL: &[Self] = &[Self::Server, Self::Client];
}

/// Whether a counted call could have slept.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The socket is in blocking mode: the time includes waiting for the peer.
    Blocking = 0,
    /// `O_NONBLOCK` or `MSG_DONTWAIT`.
    Nonblocking = 1,
}

impl Mode {
    /// Every mode, in index order.
    pub const ALL: &[Self] = &[Self::Blocking, Self::Nonblocking];
}

/// Number of [`OpStats`]: op × role × mode.
pub const N_OP_STATS: usize = Op::ALL.len() * Role::ALL.len() * Mode::ALL.len();

/// Index of the statistics of a call.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "two and two")]
pub const fn op_index(op: u32, role: u32, mode: u32) -> u32 {
    (op * Role::ALL.len() as u32 + role) * Mode::ALL.len() as u32 + mode
}

/// Statistics of one kind of call, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OpStats {
    /// Calls that returned while we watched.
    pub calls: u64,
    /// Of these, failed with EAGAIN: nothing was there, or no room.
    pub would_block: u64,
    /// Of these, failed otherwise.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// How long they took.
    pub took: Durations,
}

// SAFETY: `repr(C)`, only integers, no padding (8*5 + 4*4), so every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Conn {}
// SAFETY: `repr(C)`, only `u64`: no padding, every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for OpStats {}

const _: () = {
    assert!(size_of::<Conn>() == 56);
    assert!(size_of::<AcceptRaw>() == 48);
    assert!(size_of::<DataHead>() == 88);
    assert!(size_of::<AckedRaw>() == 40);
    assert!(size_of::<DataRaw>() == size_of::<DataHead>() + 4 * RECV_CAPTURE);
    assert!(size_of::<ConnRaw>() == 48);
    assert!(size_of::<UnconnectedRaw>() == 48);
    assert!(size_of::<PeerRaw>() == 24 + 16 + MAX_ADDRESS + 8);
    assert!(size_of::<OpStats>() <= 32 * 1024, "the kernel's limit for a per-CPU map value");
};
