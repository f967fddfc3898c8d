//! The tables of connections and of ports on which the tree listens.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, HashMap},
};
use probe_common::{
    loss::LossCause,
    socket::{CONN_SERVER, Conn},
};

use crate::shared::{emit::lose, kern};

/// Connections by `struct sock *`. A hash map because softirq and several threads meet here and socket
/// storage needs typed tracepoints (5.11); the port bitmap below keeps all other traffic out.
#[map]
static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(65_536, 0);

/// Bit set of local ports on which the tree listens: 1024 words of 64 ports.
#[map]
static LISTEN_PORTS: Array<u64> = Array::with_max_entries(1024, 0);

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
    if let Some(conn) = get(sk) {
        return Some(conn);
    }
    let port = kern::local_port(sk)?;
    // A socket that TCP has closed already would never be forgotten again.
    if u64::from(kern::state(sk)?) == kern::tcp_state::CLOSE {
        return None;
    }
    add(sk, port, established_ns)
}

/// Takes up a connection, in place of an older one at the same address.
#[inline(always)]
pub(crate) fn add(sk: u64, port: u16, established_ns: u64) -> Option<*mut Conn> {
    let conn = Conn {
        id: new_id(),
        established_ns,
        arrival_ns: 0,
        acked_ns: 0,
        acked_seq: 0,
        port: u32::from(port),
        flags: if is_listening(port) { CONN_SERVER } else { 0 },
        reserved: 0,
    };
    if CONNS.insert(sk, conn, 0).is_err() {
        lose(LossCause::ConnTableFull);
        return None;
    }
    get(sk)
}

/// Forgets a connection.
#[inline(always)]
pub(crate) fn remove(sk: u64) {
    // Present: the caller just looked it up.
    let _ = CONNS.remove(sk);
}

/// An id that no other connection of this boot has: nanoseconds and processor. (A shared counter would
/// need atomic fetch-and-add, kernel 5.12.)
#[inline(always)]
fn new_id() -> u64 {
    // SAFETY: helpers without arguments.
    unsafe { bpf_ktime_get_ns() << 8 | u64::from(bpf_get_smp_processor_id() & 0xff) }
}
