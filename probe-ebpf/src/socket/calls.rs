//! The calls themselves, at their return.

use aya_ebpf::programs::RawTracePointContext;
use probe_common::{
    header::Kind,
    loss::LossCause,
    rungs::Missing,
    socket::{
        AcceptRaw, CONN_ACCEPTED, CONN_MODE_KNOWN, CONN_NONBLOCK, CONN_SERVER, CONN_UPGRADED, Conn, DataHead,
        Mode, Op, Role,
    },
};

use super::{capture, conns, peer, quic, stats, tcp, unix};
use crate::{
    process,
    shared::{
        emit::{emit, lose},
        fdio::{Buffer, Call},
        kern::{self, Carries, Sock},
        log::log,
        regs::nr,
        rungs::is_missing,
    },
};

/// include/linux/socket.h
const MSG_PEEK: u64 = 0x02;

/// accept, accept4: `call.fd` is the listener, the return value the new descriptor.
#[inline(always)]
pub(crate) fn accept(ctx: &RawTracePointContext, call: &Call) -> Option<i32> {
    let listener = kern::sock_of_fd(call.fd)?;
    if listener.carries != Carries::Tcp {
        return if call.ret < 0 { None } else { unix::accepted(ctx, call, listener) };
    }
    let mode = if listener.nonblock { Mode::Nonblocking } else { Mode::Blocking };
    stats::count(call, Op::Accept, (Role::Server, mode), false);
    if call.ret < 0 {
        return None;
    }
    let port = kern::local_port(listener.sk)?;
    if !conns::is_listening(port) {
        conns::listen(port);
    }
    let accepted = kern::tcp_sock_of_fd(call.ret.cast_unsigned())?;
    let conn = conns::get_or_add(accepted.sk, 0)?;
    // SAFETY: a valid map value; a racing segment writes other fields.
    let conn = unsafe { &mut *conn };
    conn.flags |= CONN_ACCEPTED | CONN_SERVER;
    log!(ctx, "accept: port {} fd {}", port, call.ret);
    if !conns::is_sampled(conn) {
        return None;
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

/// read, readv, recvfrom, recvmsg, recvmmsg, splice. Begins a record where its bytes go up.
#[inline(always)]
pub(crate) fn recv(ctx: &RawTracePointContext, call: &Call, buffer: Buffer, flags: u64) -> Option<()> {
    if flags & MSG_PEEK != 0 {
        return None;
    }
    // SAFETY: a valid map value that only this thread writes while it is in the kernel.
    let (mut sock, mut arrival_ns, mut acked_ns) =
        unsafe { ((*call.thread).sock, (*call.thread).arrival_ns, (*call.thread).acked_ns) };
    if is_missing(Missing::READ)
        && call.ret > 0
        && let Some(found) = kern::tcp_sock_of_fd(call.fd)
    {
        (sock, arrival_ns, acked_ns) = tcp::read_from(found.sk)?;
    }
    // Bytes that came from no TCP stream are those of a file, a pipe, an event descriptor, unless it is a call for
    // sockets only, or Unix-domain ones are in use.
    let sk = if sock == 0 {
        if call.ret > 0 && matches!(call.nr, nr::READ | nr::READV | nr::SPLICE) && !unix::is_used() {
            return None;
        }
        let found = kern::sock_of_fd(call.fd)?;
        match found.carries {
            Carries::Tcp if call.ret <= 0 => {
                stats::count(call, Op::Recv, stats::role_and_mode(flags_of(found)?, flags), true);
                return None;
            }
            Carries::Datagrams if call.ret > 0 => {
                quic::look(found.sk, buffer, call.ret);
                return None;
            }
            Carries::Unix if call.ret > 0 => found.sk,
            _ => return None,
        }
    } else {
        sock
    };
    let is_unix = sock == 0;
    // Else the result is a number of messages.
    let in_bytes = !matches!(buffer, Buffer::Messages(_));
    // SAFETY: a valid map value; a racing segment or arrival writes other fields.
    let conn = unsafe { &mut *if is_unix { unix::known(sk)? } else { conns::get_or_add(sk, 0)? } };
    let arrival_ns = if is_unix {
        unix::take_arrival(sk, conn, call.enter_ns)
    } else {
        if conn.flags & CONN_MODE_KNOWN == 0 {
            let nonblock = kern::tcp_sock_of_fd(call.fd)?.nonblock;
            conn.flags |= CONN_MODE_KNOWN | if nonblock { CONN_NONBLOCK } else { 0 };
        }
        stats::count(call, Op::Recv, stats::role_and_mode(conn.flags, flags), in_bytes);
        arrival_ns
    };
    // SAFETY: as above.
    unsafe { (*call.thread).read_conn = conn.id };
    let is_request = conn.flags & CONN_SERVER != 0;
    if !peer::is_followed(ctx, call, sk, conn, buffer, is_request) {
        return None;
    }
    if !in_bytes {
        lose(LossCause::ManyMessages);
        return None;
    }
    capture::begin(&data_head(ctx, call, Kind::Recv, conn, arrival_ns, acked_ns))
}

/// write, writev, sendto, sendmsg, sendmmsg, sendfile, splice. Begins a record where its bytes go up.
#[inline(always)]
pub(crate) fn send(
    ctx: &RawTracePointContext,
    call: &Call,
    sock: Sock,
    buffer: Buffer,
    flags: u64,
) -> Option<()> {
    if sock.carries == Carries::Datagrams {
        return None;
    }
    let is_unix = sock.carries == Carries::Unix;
    let in_bytes = !matches!(buffer, Buffer::Messages(_));
    if call.ret <= 0 {
        if !is_unix {
            stats::count(call, Op::Send, stats::role_and_mode(flags_of(sock)?, flags), true);
        }
        return None;
    }
    // SAFETY: a valid map value; a racing segment writes other fields.
    let conn = unsafe { &mut *if is_unix { unix::known(sock.sk)? } else { conns::get_or_add(sock.sk, 0)? } };
    let mode = if sock.nonblock { CONN_NONBLOCK } else { 0 } | CONN_MODE_KNOWN;
    if conn.flags & (CONN_NONBLOCK | CONN_MODE_KNOWN) != mode {
        conn.flags = conn.flags & !CONN_NONBLOCK | mode;
    }
    if !is_unix {
        stats::count(call, Op::Send, stats::role_and_mode(conn.flags, flags), in_bytes);
    }
    let is_request = conn.flags & CONN_SERVER == 0;
    if !peer::is_followed(ctx, call, sock.sk, conn, buffer, is_request) {
        return None;
    }
    if is_unix {
        // Its answer will come by a read.
        unix::use_them();
    }
    if !in_bytes {
        lose(LossCause::ManyMessages);
        return None;
    }
    let mut head = data_head(ctx, call, Kind::Send, conn, 0, 0);
    if conn.flags & CONN_UPGRADED != 0 {
        head.end_seq = if is_unix { 0 } else { kern::write_seq(sock.sk).unwrap_or(0) };
    }
    capture::begin(&head)
}

/// From here on another protocol than HTTP is spoken on this socket.
#[inline(always)]
pub(crate) fn upgraded(sk: u64) {
    if let Some(conn) = conns::get(sk) {
        // SAFETY: a valid map value; a racing segment writes other fields.
        unsafe { (*conn).flags |= CONN_UPGRADED };
    }
}

/// `CONN_*` bits of a socket that may be closed already, and then is not taken up any more.
#[inline(always)]
fn flags_of(sock: Sock) -> Option<u32> {
    let server = if conns::is_listening(kern::local_port(sock.sk)?) { CONN_SERVER } else { 0 };
    Some(server | if sock.nonblock { CONN_NONBLOCK } else { 0 })
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
        bytes: call.ret.cast_unsigned(),
        port: conn.port,
        flags: conn.flags,
        head_len: 0,
        tail_len: 0,
        end_seq: 0,
        reserved: 0,
    }
}
