//! The calls themselves, at their return.

use aya_ebpf::programs::RawTracePointContext;
use probe_common::{
    header::Kind,
    socket::{
        AcceptRaw, CONN_ACCEPTED, CONN_MODE_KNOWN, CONN_NONBLOCK, CONN_SERVER, Conn, DataHead, Mode, Op, Role,
    },
};

use super::{capture, conns, stats};
use crate::{
    process,
    shared::{
        emit::emit,
        fdio::{Buffer, Call},
        kern,
    },
};

/// include/linux/socket.h
const MSG_PEEK: u64 = 0x02;
const MSG_DONTWAIT: u64 = 0x40;

/// accept, accept4: `call.fd` is the listener, the return value the new descriptor.
#[inline(always)]
pub(crate) fn accept(ctx: &RawTracePointContext, call: &Call) -> Option<i32> {
    let listener = kern::tcp_sock_of_fd(call.fd)?;
    let mode = if listener.nonblock { Mode::Nonblocking } else { Mode::Blocking };
    stats::count(call, Op::Accept, (Role::Server, mode), false);
    if call.ret < 0 {
        return None;
    }
    let port = kern::local_port(listener.sk)?;
    if !conns::is_listening(port) {
        conns::listen(port);
    }
    let accepted = kern::tcp_sock_of_fd(call.ret as u64)?;
    let conn = conns::get_or_add(accepted.sk, 0)?;
    // SAFETY: a valid map value; a racing segment writes other fields.
    let conn = unsafe { &mut *conn };
    conn.flags |= CONN_ACCEPTED | CONN_SERVER;
    if accepted.nonblock {
        conn.flags |= CONN_NONBLOCK | CONN_MODE_KNOWN;
    }
    emit(&AcceptRaw {
        header: process::header(ctx, Kind::Accept, call.ts_ns),
        conn: conn.id,
        established_ns: conn.established_ns,
        // What is left, and the one that was taken.
        backlog: kern::ack_backlog(listener.sk).unwrap_or(0) + 1,
        port: u32::from(port),
    });
    Some(0)
}

/// read, readv, recvfrom, recvmsg.
#[inline(always)]
pub(crate) fn recv(ctx: &RawTracePointContext, call: &Call, buffer: Buffer, flags: u64) -> Option<i32> {
    if flags & MSG_PEEK != 0 {
        return None;
    }
    // SAFETY: a valid map value that only this thread writes while it is in the kernel.
    let (sock, arrival_ns, acked_ns) =
        unsafe { ((*call.thread).sock, (*call.thread).arrival_ns, (*call.thread).acked_ns) };
    let sk = if sock != 0 {
        sock
    } else if call.ret > 0 {
        // Bytes that came from no TCP stream: a file, a pipe, an event descriptor.
        return None;
    } else {
        kern::tcp_sock_of_fd(call.fd)?.sk
    };
    let conn = conns::get_or_add(sk, 0)?;
    // SAFETY: a valid map value; fields are read once, and a concurrent writer changes whole words.
    let conn = unsafe { &*conn };
    let (role, mut mode) = stats::role_and_mode(conn.flags);
    if flags & MSG_DONTWAIT != 0 {
        mode = Mode::Nonblocking;
    }
    stats::count(call, Op::Recv, (role, mode), true);
    if call.ret <= 0 || conn.flags & CONN_SERVER == 0 {
        return None;
    }
    let head = data_head(ctx, call, Kind::Recv, conn, arrival_ns, acked_ns);
    capture::emit_recv(head, buffer);
    Some(0)
}

/// write, writev, sendto, sendmsg, sendfile.
#[inline(always)]
pub(crate) fn send(ctx: &RawTracePointContext, call: &Call, buffer: Buffer, flags: u64) -> Option<i32> {
    let sock = kern::tcp_sock_of_fd(call.fd)?;
    let conn = conns::get_or_add(sock.sk, 0)?;
    // SAFETY: a valid map value; a racing segment writes other fields.
    let conn = unsafe { &mut *conn };
    let mode = if sock.nonblock { CONN_NONBLOCK } else { 0 } | CONN_MODE_KNOWN;
    if conn.flags & (CONN_NONBLOCK | CONN_MODE_KNOWN) != mode {
        conn.flags = conn.flags & !CONN_NONBLOCK | mode;
    }
    let (role, mut mode) = stats::role_and_mode(conn.flags);
    if flags & MSG_DONTWAIT != 0 {
        mode = Mode::Nonblocking;
    }
    stats::count(call, Op::Send, (role, mode), true);
    if call.ret <= 0 || conn.flags & CONN_SERVER == 0 {
        return None;
    }
    let head = data_head(ctx, call, Kind::Send, conn, 0, 0);
    capture::emit_send(head, buffer);
    Some(0)
}

#[inline(always)]
fn data_head(
    ctx: &RawTracePointContext,
    call: &Call,
    kind: Kind,
    conn: &Conn,
    arrival_ns: u64,
    acked_ns: u64,
) -> DataHead {
    DataHead {
        header: process::header(ctx, kind, call.ts_ns),
        conn: conn.id,
        enter_ns: call.enter_ns,
        arrival_ns,
        acked_ns,
        bytes: call.ret as u64,
        port: conn.port,
        flags: conn.flags,
        head_len: 0,
        tail_len: 0,
    }
}
