//! The tables of connections and of ports on which the tree listens.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, LruHashMap},
};
use probe_common::{
    loss::LossCause,
    socket::{CONN_CLOSED, CONN_HANDSHAKE, CONN_SERVER, Conn, is_in_sample},
};

use crate::shared::{emit::lose, kern};

/// Connections by `struct sock *`. A hash map because softirq and several threads meet here and socket
/// storage needs typed tracepoints (5.11); the port bitmap below keeps all other traffic out. Least recently used
/// ones make room, because a closed connection stays: a call on it can return after the close (a peer that resets as
/// soon as it has its response, bytes or a connection that waited in a queue).
#[map]
static CONNS: LruHashMap<u64, Conn> = LruHashMap::with_max_entries(65_536, 0);

/// Bit set of local ports on which the tree listens: 1024 words of 64 ports.
#[map]
static LISTEN_PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// Which connections are followed, by [`is_in_sample`]; set by user space, and only ever to a smaller sample.
#[map]
static SAMPLE: Array<u32> = Array::with_max_entries(1, 0);

/// Whether records of this connection go up. What is counted here in the kernel is counted of all.
#[inline(always)]
pub(crate) fn is_sampled(conn: &Conn) -> bool {
    SAMPLE.get(0).is_none_or(|mask| is_in_sample(conn.id, *mask))
}

/// Whether the tree listens on this port.
#[inline(always)]
pub(crate) fn is_listening(port: u16) -> bool {
    LISTEN_PORTS.get(u32::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 != 0)
}

/// Notes that the tree listens on this port.
#[inline(always)]
pub(crate) fn listen(port: u16) {
    if let Some(word) = LISTEN_PORTS.get_ptr_mut(u32::from(port >> 6)) {
        // SAFETY: a valid map value. Bits are only ever set; two CPUs that set bits of one word in the same
        // nanoseconds could lose one, and the next accept on that port sets it again.
        unsafe { *word |= 1 << (port & 63) };
    }
}

/// The known connection of a socket.
#[inline(always)]
pub(crate) fn get(sk: u64) -> Option<*mut Conn> {
    CONNS.get_ptr_mut(sk)
}

/// The connection of a socket, taken up now if it is not known yet.
#[inline(always)]
pub(crate) fn get_or_add(sk: u64, established_ns: u64) -> Option<*mut Conn> {
    let known = get(sk);
    if let Some(conn) = known {
        // SAFETY: a valid map value; one word is read.
        if unsafe { (*conn).flags } & CONN_CLOSED == 0 {
            return known;
        }
    }
    // A closed socket is the known one, or one that nothing can be said of; an open one is new at this address.
    if u64::from(kern::state(sk)?) == kern::tcp_state::CLOSE {
        return known;
    }
    add(sk, kern::local_port(sk)?, established_ns)
}

/// Takes up a connection, in place of an older one at the same address.
#[inline(always)]
pub(crate) fn add(sk: u64, port: u16, established_ns: u64) -> Option<*mut Conn> {
    let server = if is_listening(port) { CONN_SERVER } else { 0 };
    add_as(sk, port, established_ns, server | if established_ns != 0 { CONN_HANDSHAKE } else { 0 })
}

/// The same with these flags.
#[inline(always)]
pub(crate) fn add_as(sk: u64, port: u16, established_ns: u64, flags: u32) -> Option<*mut Conn> {
    let conn = Conn {
        id: new_id(),
        established_ns,
        arrival_ns: 0,
        ready_ns: 0,
        acked_ns: 0,
        acked_seq: 0,
        port: u32::from(port),
        flags,
        reserved: 0,
    };
    if CONNS.insert(sk, conn, 0).is_err() {
        lose(LossCause::ConnTableFull);
        return None;
    }
    get(sk)
}

/// An id that no other connection of this boot has: nanoseconds and processor. (A shared counter would
/// need atomic fetch-and-add, kernel 5.12.)
#[inline(always)]
fn new_id() -> u64 {
    // SAFETY: helpers without arguments.
    unsafe { bpf_ktime_get_ns() << 8 | u64::from(bpf_get_smp_processor_id() & 0xff) }
}
