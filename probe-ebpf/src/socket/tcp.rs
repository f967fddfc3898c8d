//! The TCP tracepoints: handshakes, arriving segments, the socket a read reads from, closes.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_ktime_get_ns,
    macros::{map, raw_tracepoint},
    maps::PerCpuArray,
    programs::RawTracePointContext,
};
use probe_common::{
    header::{Header, Kind},
    rungs::Missing,
    socket::{
        AckedRaw, CONN_CLOSED, CONN_CONNECTING, CONN_FOLLOWED, CONN_RESET, CONN_SERVER, CONN_UPGRADED, Conn,
        ConnRaw, ListenRaw, UnconnectedRaw,
    },
    turns::Turns,
};

use super::conns;
use crate::{
    process,
    shared::{
        emit::emit,
        kern::{self, tcp_state},
        rungs::is_missing,
        tracepoint,
    },
};

/// Which of the two programs below tells of a socket.
#[map]
static STATE_TURNS: PerCpuArray<Turns> = PerCpuArray::with_max_entries(1, 0);

/// `sock:inet_sock_set_state(sk, oldstate, newstate)`.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn socket_state(ctx: RawTracePointContext) -> i32 {
    if let Some(turns) = STATE_TURNS.get_ptr_mut(0) {
        // SAFETY: this CPU's slot; see `Turns` for interrupts.
        unsafe { (*turns).first(ctx.arg(0)) };
    }
    try_state(&ctx).unwrap_or(0)
}

/// The same, called after it, for what it was left out of: what came on top of it. A socket is in one hand at a time, so that
/// is another one. To tell of one twice changes nothing.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn socket_state_again(ctx: RawTracePointContext) -> i32 {
    // SAFETY: as in `socket_state`.
    if STATE_TURNS.get_ptr_mut(0).is_some_and(|turns| unsafe { (*turns).was_left_out(ctx.arg(0)) }) {
        return try_state(&ctx).unwrap_or(0);
    }
    0
}

#[inline(always)]
fn try_state(ctx: &RawTracePointContext) -> Option<i32> {
    let sk: u64 = ctx.arg(0);
    let old: u64 = ctx.arg(1);
    let new: u64 = ctx.arg(2);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    match new {
        tcp_state::ESTABLISHED if old == tcp_state::SYN_RECV => {
            let port = kern::local_port(sk)?;
            if conns::is_listening(port) {
                conns::add(sk, port, now)?;
            }
        }
        tcp_state::LISTEN => {
            process::traced(ctx.pid())?;
            let port = kern::local_port(sk)?;
            conns::listen(port);
            emit(&ListenRaw {
                header: process::header(ctx, Kind::Listen, now),
                port: u32::from(port),
                reserved: 0,
            });
        }
        tcp_state::SYN_SENT => {
            process::traced(ctx.pid())?;
            // It has no local port yet.
            conns::add_as(sk, 0, 0, CONN_CONNECTING)?;
        }
        tcp_state::ESTABLISHED if old == tcp_state::SYN_SENT => connected(sk)?,
        tcp_state::CLOSE if old == tcp_state::SYN_SENT => unconnected(sk, now)?,
        tcp_state::CLOSE => {
            // Without a FIN from either side first, it was a reset.
            let reset = old == tcp_state::ESTABLISHED || old == tcp_state::CLOSE_WAIT;
            closed(sk, if reset { CONN_RESET } else { 0 }, now)?;
        }
        _ => {}
    }
    Some(0)
}

/// A connection that the tree asked for is there.
#[inline(always)]
fn connected(sk: u64) -> Option<()> {
    // SAFETY: a valid map value; nobody else uses a connection that is being made.
    let conn = unsafe { &mut *conns::get(sk)? };
    if conn.flags & (CONN_CONNECTING | CONN_CLOSED) == CONN_CONNECTING {
        conn.flags &= !CONN_CONNECTING;
        conn.port = u32::from(kern::local_port(sk)?);
    }
    Some(())
}

/// A connection that the tree asked for will not come about.
#[inline(always)]
fn unconnected(sk: u64, ts_ns: u64) -> Option<()> {
    // SAFETY: a valid map value; nobody else uses a connection that is being made.
    let conn = unsafe { &mut *conns::get(sk)? };
    if conn.flags & (CONN_CONNECTING | CONN_CLOSED) != CONN_CONNECTING {
        return None;
    }
    conn.flags |= CONN_CLOSED;
    if !conns::is_sampled(conn) {
        return None;
    }
    let family = kern::family(sk)?;
    let (port, address) = kern::peer_address(sk, family)?;
    emit(&UnconnectedRaw {
        header: Header { ts_ns, pid: 0, tid: 0, kind: Kind::Unconnected as u32, reserved: 0 },
        address,
        family,
        port,
        error: kern::error(sk)?,
    });
    Some(())
}

/// Tells user space that a followed connection is gone; softirq context, so nobody's pid.
#[inline(always)]
fn closed(sk: u64, reset: u32, ts_ns: u64) -> Option<()> {
    // SAFETY: a valid map value; a concurrent writer changes whole words.
    let conn = unsafe { &mut *conns::get(sk)? };
    if conn.flags & CONN_CLOSED != 0 {
        // Of a socket that was at this address before.
        return None;
    }
    conn.flags |= CONN_CLOSED;
    if conn.flags & (CONN_SERVER | CONN_FOLLOWED) != 0 && conns::is_sampled(conn) {
        emit(&ConnRaw {
            header: Header { ts_ns, pid: 0, tid: 0, kind: Kind::Closed as u32, reserved: 0 },
            conn: conn.id,
            acked_ns: acked_ns(sk, conn),
            flags: conn.flags | reset,
            port: conn.port,
        });
    }
    Some(())
}

/// `tcp:tcp_probe(sk, skb)`: every segment that arrives in ESTABLISHED, under the socket's lock and before
/// TCP looks at it.
#[raw_tracepoint(tracepoint = "tcp_probe")]
pub(crate) fn socket_segment(ctx: RawTracePointContext) -> i32 {
    try_segment(&ctx).unwrap_or(0)
}

#[inline(always)]
fn try_segment(ctx: &RawTracePointContext) -> Option<i32> {
    let sk: u64 = ctx.arg(0);
    if !conns::is_listening(kern::local_port(sk)?) {
        return None;
    }
    let conn = conns::get_or_add(sk, 0)?;
    // SAFETY: a valid map value; the socket's lock keeps other segments of this connection out.
    let conn = unsafe { &mut *conn };
    let segment = kern::segment(ctx.arg(1))?;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // Sequence numbers wrap: the signed difference orders them (RFC 9293, 3.4).
    if conn.acked_ns == 0 || segment.ack.wrapping_sub(conn.acked_seq).cast_signed() > 0 {
        conn.acked_seq = segment.ack;
        conn.acked_ns = now;
        if conn.flags & CONN_UPGRADED != 0 && conns::is_sampled(conn) {
            emit(&AckedRaw {
                header: Header { ts_ns: now, pid: 0, tid: 0, kind: Kind::Acked as u32, reserved: 0 },
                conn: conn.id,
                seq: segment.ack,
                reserved: 0,
            });
        }
    }
    // The first byte that the application has not read became readable now if nothing was waiting and the
    // segment continues the stream (not a retransmission of what was read, not behind a gap).
    if segment.payload > 0 && kern::receive_queue_is_empty(sk)? {
        let before = kern::rcv_nxt(sk)?.wrapping_sub(segment.seq);
        if before.cast_signed() >= 0 && before < segment.payload {
            conn.arrival_ns = now;
        }
    }
    Some(0)
}

/// `tcp:tcp_rcv_space_adjust(sk)`: inside a read that got bytes, under the socket's lock.
///
/// Joins the call to its socket, and takes the arrival time while no new segment can change it.
#[raw_tracepoint(tracepoint = "tcp_rcv_space_adjust")]
pub(crate) fn socket_read(ctx: RawTracePointContext) -> i32 {
    try_read(&ctx).unwrap_or(0)
}

#[inline(always)]
fn try_read(ctx: &RawTracePointContext) -> Option<i32> {
    let thread = process::traced(ctx.pid())?;
    // SAFETY: a valid map value that only this thread writes while it is in the kernel.
    let thread = unsafe { &mut *thread };
    if thread.nr == 0 && !is_missing(Missing::ENTRY) {
        return None;
    }
    let sk = tracepoint::sock(ctx)?;
    // SAFETY: a valid map value; the socket's lock keeps segments of this connection out.
    let conn = unsafe { &mut *conns::get_or_add(sk, 0)? };
    // Once per buffer that the read empties; the first one holds the first byte.
    let first = thread.sock == 0;
    if first {
        thread.sock = sk;
        thread.arrival_ns = conn.arrival_ns;
    }
    // What arrives next must not pass for older than it is if its segment is not seen.
    if kern::receive_queue_is_empty(sk)? {
        conn.arrival_ns = 0;
    }
    if !first {
        return None;
    }
    thread.acked_ns = acked_ns(sk, conn);
    Some(0)
}

/// What [`socket_read`] leaves for the return of a read, found out there: its socket, the arrival of its first byte, and
/// when everything sent before was acknowledged. A segment that came in between counts as read.
#[inline(always)]
pub(super) fn read_from(sk: u64) -> Option<(u64, u64, u64)> {
    // SAFETY: a valid map value; a racing segment writes other fields, or the arrival that this one takes.
    let conn = unsafe { &mut *conns::get_or_add(sk, 0)? };
    let arrival_ns = conn.arrival_ns;
    if kern::receive_queue_is_empty(sk)? {
        conn.arrival_ns = 0;
    }
    Some((sk, arrival_ns, acked_ns(sk, conn)))
}

/// When the peer had acknowledged everything that was sent; 0 when it has not, or when the acknowledgement was not
/// seen (`tcp_probe` tells those of ESTABLISHED only, so none that come after a FIN).
#[inline(always)]
fn acked_ns(sk: u64, conn: &Conn) -> u64 {
    if kern::all_acknowledged(sk) == Some(conn.acked_seq) { conn.acked_ns } else { 0 }
}
