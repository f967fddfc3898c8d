//! Connections that go up by what they carry, not by their port: those that the tree made itself, and Unix-domain ones.
//!
//! A tree talks to databases and caches as well, whose bytes nobody asked for. So such a connection is followed from the
//! first call on that begins like a request (or like TLS, to be named), and its address goes up once, then.

use aya_ebpf::{macros::map, maps::PerCpuArray, programs::RawTracePointContext};
use probe_common::{
    header::{Header, Kind},
    socket::{AF_UNIX, CONN_FOLLOWED, CONN_SERVER, CONN_UNIX, Conn, MAX_ADDRESS, PeerRaw},
};

use super::{capture, conns};
use crate::{
    process,
    shared::{
        emit::emit,
        fdio::{Buffer, Call},
        kern,
    },
};

/// Where a record is put together: with all the rest of `sys_exit` it is too big for the stack.
#[map]
static PEER: PerCpuArray<PeerRaw> = PerCpuArray::with_max_entries(1, 0);

/// Whether the bytes of this call go up. `is_request` is the direction in which requests go on this connection.
#[inline(always)]
pub(crate) fn is_followed(
    ctx: &RawTracePointContext,
    call: &Call,
    sk: u64,
    conn: &mut Conn,
    buffer: Buffer,
    is_request: bool,
) -> bool {
    if !conns::is_sampled(conn) {
        return false;
    }
    if conn.flags & CONN_FOLLOWED != 0 || conn.flags & (CONN_SERVER | CONN_UNIX) == CONN_SERVER {
        return true;
    }
    if !is_request || !capture::first_bytes(buffer).is_some_and(|start| begins(start, call.ret)) {
        return false;
    }
    conn.flags |= CONN_FOLLOWED;
    tell(ctx, call.ts_ns, sk, conn);
    true
}

/// A method, as far as it came, or a TLS record (RFC 8446, 5.1).
#[inline(always)]
fn begins(start: [u8; 4], len: i64) -> bool {
    const METHODS: [[u8; 4]; 9] =
        [*b"GET ", *b"POST", *b"PUT ", *b"HEAD", *b"DELE", *b"PATC", *b"OPTI", *b"CONN", *b"TRAC"];
    if len < 4 {
        return start[0].is_ascii_uppercase();
    }
    // A loop over the table would be one over read-only data, which the oldest kernels' verifiers do not follow.
    start == METHODS[0]
        || start == METHODS[1]
        || start == METHODS[2]
        || start == METHODS[3]
        || start == METHODS[4]
        || start == METHODS[5]
        || start == METHODS[6]
        || start == METHODS[7]
        || start == METHODS[8]
        || ((start[0] == 0x16 || start[0] == 0x17) && start[1] == 3)
}

/// Sends up where a connection leads.
#[inline(always)]
pub(crate) fn tell(ctx: &RawTracePointContext, ts_ns: u64, sk: u64, conn: &Conn) {
    let _ = try_tell(process::header(ctx, Kind::Peer, ts_ns), sk, conn);
}

#[inline(always)]
fn try_tell(header: Header, sk: u64, conn: &Conn) -> Option<()> {
    let raw = PEER.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; `sys_exit`'s program, its only user, never runs twice at once on a CPU.
    let raw = unsafe { &mut *raw };
    let family = kern::family(sk)?;
    let (port, from, len) = if family == AF_UNIX {
        let own = conn.flags & CONN_SERVER != 0;
        let address = if own { kern::unix_address(sk) } else { kern::unix_peer_address(sk) }?;
        let (from, len) = kern::unix_path(address)?;
        (0, from, len)
    } else {
        kern::peer(sk, family)?
    };
    let len = len.min(MAX_ADDRESS - 1);
    if !kern::copy(&mut raw.address, from, len) {
        return None;
    }
    raw.header = header;
    raw.conn = conn.id;
    raw.flags = conn.flags;
    raw.family = family;
    raw.port = port;
    raw.len = len as u32;
    emit(raw);
    Some(())
}
