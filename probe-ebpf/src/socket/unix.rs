//! Unix-domain stream sockets. They have no state changes or segments to watch: connections come in by accept, bytes
//! become readable at `sk_data_ready` (kernels from 6.3 on), and the end is the close of the descriptor.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_ktime_get_ns,
    macros::{map, raw_tracepoint},
    maps::{Array, HashMap},
    programs::RawTracePointContext,
};
use probe_common::{
    header::Kind,
    socket::{
        AF_UNIX, AcceptRaw, CONN_ACCEPTED, CONN_CLOSED, CONN_FOLLOWED, CONN_SERVER, CONN_UNIX, Conn, ConnRaw,
    },
};

use super::{conns, peer};
use crate::{
    process,
    shared::{
        emit::emit,
        fdio::Call,
        kern::{self, Carries, Sock, tcp_state},
        regs, tracepoint,
    },
};

/// Whether the tree has anything to do with Unix-domain streams: until then nobody pays for them.
#[map]
static UNIX_USED: Array<u32> = Array::with_max_entries(1, 0);

/// Inode numbers of the listeners that the tree had at the attach; from user space, which knows no addresses. A hash
/// map because they are few and sparse.
#[map]
static UNIX_INODES: HashMap<u64, u32> = HashMap::with_max_entries(256, 0);

/// The `struct unix_address` of each listener: every connection of one shares it. A hash map as above.
#[map]
static UNIX_LISTENERS: HashMap<u64, u32> = HashMap::with_max_entries(256, 0);

/// See [`UNIX_USED`].
#[inline(always)]
pub(crate) fn is_used() -> bool {
    UNIX_USED.get(0).is_some_and(|used| *used != 0)
}

/// See [`UNIX_USED`].
#[inline(always)]
pub(crate) fn use_them() {
    if let Some(used) = UNIX_USED.get_ptr_mut(0) {
        // SAFETY: a valid map value that only ever becomes 1.
        unsafe { *used = 1 };
    }
}

/// listen: from now on connections to this socket are the tree's.
#[inline(always)]
pub(crate) fn listen(call: &Call) -> Option<i32> {
    let sock = kern::sock_of_fd(call.fd).filter(|sock| sock.carries == Carries::Unix && call.ret == 0)?;
    note_listener(sock.sk);
    Some(0)
}

#[inline(always)]
fn note_listener(sk: u64) {
    use_them();
    if let Some(address) = kern::unix_address(sk) {
        // A full table costs the arrival times of this listener's connections, which are told as unknown.
        let _ = UNIX_LISTENERS.insert(address, 1, 0);
    }
}

/// accept returned a connection of a Unix-domain listener.
#[inline(always)]
pub(crate) fn accepted(ctx: &RawTracePointContext, call: &Call, listener: Sock) -> Option<i32> {
    let accepted = kern::sock_of_fd(call.ret.cast_unsigned())?;
    note_listener(listener.sk);
    let conn = connection(accepted.sk, CONN_ACCEPTED)?;
    // SAFETY: a valid map value; a racing arrival writes other fields.
    let conn = unsafe { &mut *conn };
    conn.flags |= CONN_ACCEPTED | CONN_SERVER;
    if !conns::is_sampled(conn) {
        return None;
    }
    peer::tell(ctx, call.ts_ns, accepted.sk, conn);
    emit(&AcceptRaw {
        header: process::header(ctx, Kind::Accept, call.ts_ns),
        conn: conn.id,
        established_ns: 0,
        backlog: kern::queued(listener.sk).unwrap_or(0) + 1,
        port: 0,
    });
    Some(0)
}

/// The connection of a Unix-domain socket, taken up now if it is not known. `gone` are flags of an entry that can
/// only be of an earlier socket at this address.
#[inline(always)]
fn connection(sk: u64, gone: u32) -> Option<*mut Conn> {
    if let Some(conn) = conns::get(sk) {
        // SAFETY: a valid map value; one word is read.
        let flags = unsafe { (*conn).flags };
        if flags & CONN_UNIX != 0 && flags & (CONN_CLOSED | gone) == 0 {
            return Some(conn);
        }
    }
    // A socket that came from a listener bears its name; what the tree connects has none as a rule.
    let server = if kern::unix_address(sk).is_some() { CONN_SERVER } else { 0 };
    conns::add_as(sk, 0, 0, CONN_UNIX | server)
}

/// A call on a Unix-domain socket: its connection.
#[inline(always)]
pub(crate) fn known(sk: u64) -> Option<*mut Conn> {
    connection(sk, 0)
}

/// When the first byte of a read became readable, and what that says for the next one.
#[inline(always)]
pub(crate) fn take_arrival(sk: u64, conn: &mut Conn, enter_ns: u64) -> u64 {
    let arrival_ns = conn.arrival_ns;
    if kern::queued(sk) == Some(0) {
        conn.arrival_ns = 0;
    } else if conn.ready_ns > enter_ns {
        // What is left came while this call was under way.
        conn.arrival_ns = conn.ready_ns;
    }
    arrival_ns
}

/// `sock:sk_data_ready(sk)`: in the sender's context, behind the bytes in the receiver's queue. On a listener it is
/// a new connection.
#[raw_tracepoint(tracepoint = "sk_data_ready")]
pub(crate) fn socket_ready(ctx: RawTracePointContext) -> i32 {
    try_ready(&ctx).unwrap_or(0)
}

#[inline(always)]
fn try_ready(ctx: &RawTracePointContext) -> Option<i32> {
    if !is_used() {
        return None;
    }
    let sk: u64 = ctx.arg(0);
    if kern::family(sk)? != AF_UNIX {
        return None;
    }
    let address = kern::unix_address(sk)?;
    if u64::from(kern::state(sk)?) == tcp_state::LISTEN {
        // SAFETY: the value is not looked at.
        if unsafe { UNIX_INODES.get(kern::inode(sk)?) }.is_some() {
            note_listener(sk);
        }
        return None;
    }
    // SAFETY: as above.
    unsafe { UNIX_LISTENERS.get(address) }?;
    // SAFETY: a valid map value; a racing reader of the same connection can at worst lose one arrival.
    let conn = unsafe { &mut *connection(sk, 0)? };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    conn.ready_ns = now;
    if conn.arrival_ns == 0 {
        conn.arrival_ns = now;
    }
    Some(0)
}

/// close, at its entry: the end of a Unix-domain connection. (One that a forked child still holds goes on, but nobody
/// serves one connection from two processes.)
#[inline(always)]
pub(crate) fn closing(ctx: &RawTracePointContext) -> Option<i32> {
    if !is_used() {
        return None;
    }
    process::traced(ctx.pid())?;
    let fd = regs::args(tracepoint::registers(ctx))?.arg[0];
    let sock = kern::sock_of_fd(fd).filter(|sock| sock.carries == Carries::Unix)?;
    // SAFETY: a valid map value; a concurrent writer changes whole words.
    let conn = unsafe { &mut *conns::get(sock.sk)? };
    if conn.flags & CONN_UNIX == 0 || conn.flags & CONN_CLOSED != 0 {
        return None;
    }
    conn.flags |= CONN_CLOSED;
    if conn.flags & (CONN_ACCEPTED | CONN_FOLLOWED) != 0 && conns::is_sampled(conn) {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        emit(&ConnRaw {
            header: process::header(ctx, Kind::Closed, now),
            conn: conn.id,
            acked_ns: 0,
            flags: conn.flags,
            port: 0,
        });
    }
    Some(0)
}
