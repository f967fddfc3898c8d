//! The tls room: plain text at the borders of a TLS library (OpenSSL's `SSL_read`, `SSL_write`, their `_ex` forms, and
//! the end of a handshake). Which connection it belongs to is user space's to say: the library may not know any socket.
//!
//! Programs on functions can be preempted, so records are filled in the ring itself.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_ktime_get_ns, bpf_probe_read_user, generated::bpf_probe_read_user as probe_read_user},
    macros::{map, uprobe, uretprobe},
    maps::LruHashMap,
    programs::{ProbeContext, RetProbeContext},
};
use probe_common::{
    header::Kind,
    loss::LossCause,
    tls::{BODY_CAPTURE, HEAD_CAPTURE, PlainHead, PlainRaw, TAIL_CAPTURE},
};

use crate::{
    process,
    shared::{
        bounds::opaque,
        emit::{emit, lose, reserve, submit},
    },
};

/// A call between its entry and its return.
#[repr(C)]
#[derive(Clone, Copy)]
struct Inside {
    ssl: u64,
    buffer: u64,
    /// Where an `_ex` form leaves the number of bytes; 0 for the others, which return it.
    length: u64,
    enter_ns: u64,
}

/// Calls by thread, and whether it is a handshake, which also happens inside a read or a write. A hash map because
/// thread ids are sparse; least recently used ones make room, because a thread can end inside a call.
#[map]
static INSIDE: LruHashMap<u64, Inside> = LruHashMap::with_max_entries(16_384, 0);

/// `SSL_read(ssl, buffer, n)`, `SSL_write(ssl, buffer, n)`.
#[uprobe]
pub(crate) fn tls_enter(ctx: ProbeContext) -> u32 {
    enter(&ctx, false, false).unwrap_or(0)
}

/// `SSL_read_ex(ssl, buffer, n, &length)`, `SSL_write_ex` alike.
#[uprobe]
pub(crate) fn tls_enter_ex(ctx: ProbeContext) -> u32 {
    enter(&ctx, true, false).unwrap_or(0)
}

/// `SSL_do_handshake(ssl)`, which `SSL_accept` ends in too.
#[uprobe]
pub(crate) fn tls_handshake_enter(ctx: ProbeContext) -> u32 {
    enter(&ctx, false, true).unwrap_or(0)
}

/// The end of a handshake, or of a step of it.
#[uretprobe]
pub(crate) fn tls_handshake_exit(ctx: RetProbeContext) -> u32 {
    handshake_exit(&ctx).unwrap_or(0)
}

/// The return of either form of read.
#[uretprobe]
pub(crate) fn tls_read_exit(ctx: RetProbeContext) -> u32 {
    exit(&ctx, Kind::TlsRead).unwrap_or(0)
}

/// The return of either form of write.
#[uretprobe]
pub(crate) fn tls_write_exit(ctx: RetProbeContext) -> u32 {
    exit(&ctx, Kind::TlsWrite).unwrap_or(0)
}

#[inline(always)]
fn key(tid: u32, is_handshake: bool) -> u64 {
    u64::from(tid) << 1 | u64::from(is_handshake)
}

#[inline(always)]
fn enter(ctx: &ProbeContext, is_ex: bool, is_handshake: bool) -> Option<u32> {
    process::traced(ctx.pid())?;
    let inside = Inside {
        ssl: ctx.arg(0)?,
        buffer: if is_handshake { 0 } else { ctx.arg(1)? },
        length: if is_ex { ctx.arg(3)? } else { 0 },
        // SAFETY: a helper without arguments.
        enter_ns: unsafe { bpf_ktime_get_ns() },
    };
    if INSIDE.insert(key(ctx.pid(), is_handshake), inside, 0).is_err() {
        lose(LossCause::ThreadTableFull);
    }
    None
}

/// What the entry left, and the head of the record for it.
#[inline(always)]
fn leave(ctx: &RetProbeContext, kind: Kind) -> Option<(Inside, PlainHead)> {
    let thread = process::traced(ctx.pid())?;
    let key = key(ctx.pid(), matches!(kind, Kind::TlsHandshake));
    // SAFETY: only this thread writes its entry, and it is here.
    let inside = *unsafe { INSIDE.get(key) }?;
    // Present: just read.
    let _ = INSIDE.remove(key);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let head = PlainHead {
        header: process::header(ctx, kind, now),
        ssl: inside.ssl,
        enter_ns: inside.enter_ns,
        // SAFETY: a valid map value that only this thread writes while it is in the kernel.
        conn: unsafe { (*thread).read_conn },
        bytes: 0,
        head_len: 0,
        tail_len: 0,
        tail: [0; TAIL_CAPTURE],
    };
    Some((inside, head))
}

#[inline(always)]
fn handshake_exit(ctx: &RetProbeContext) -> Option<u32> {
    let (_, mut head) = leave(ctx, Kind::TlsHandshake)?;
    head.bytes = u64::from(ctx.ret::<i32>() == 1);
    emit(&head);
    None
}

#[inline(always)]
fn exit(ctx: &RetProbeContext, kind: Kind) -> Option<u32> {
    let (inside, mut head) = leave(ctx, kind)?;
    let ret: i32 = ctx.ret();
    let bytes = if ret <= 0 {
        0
    } else if inside.length == 0 {
        u64::from(ret.cast_unsigned())
    } else {
        read_user(inside.length).unwrap_or(0)
    };
    if bytes == 0 {
        if matches!(kind, Kind::TlsRead) {
            emit(&head);
        }
        return None;
    }
    head.bytes = bytes;
    let is_start = read_user::<[u8; 4]>(inside.buffer)
        .is_some_and(|start| start[0].is_ascii_uppercase() && start[1].is_ascii_uppercase());
    // Small ones go up whole: where the frames of a WebSocket begin is user space's to find.
    if bytes > BODY_CAPTURE as u64 && (is_start || bytes <= HEAD_CAPTURE as u64) {
        emit_plain::<HEAD_CAPTURE>(head, inside.buffer);
    } else {
        emit_plain::<BODY_CAPTURE>(head, inside.buffer);
    }
    None
}

/// Sends a call's first bytes, and its last ones where they are not among the first.
#[inline(always)]
fn emit_plain<const N: usize>(mut head: PlainHead, buffer: u64) {
    let Some(mut entry) = reserve::<PlainRaw<N>>() else { return };
    let raw = entry.as_mut_ptr();
    let want = opaque(head.bytes as usize);
    let want = if want > N { N } else { want };
    // SAFETY: `raw` is valid for the whole record; `want` is at most the array's length; the helper checks the source.
    let failed =
        unsafe { probe_read_user((&raw mut (*raw).bytes).cast(), want as u32, buffer as *const _) } != 0;
    if failed {
        lose(LossCause::UserReadFault);
    } else {
        head.head_len = want as u32;
    }
    if head.bytes >= (N + TAIL_CAPTURE) as u64
        && let Some(tail) = read_user(buffer + head.bytes - TAIL_CAPTURE as u64)
    {
        head.tail = tail;
        head.tail_len = TAIL_CAPTURE as u32;
    }
    // SAFETY: as above.
    unsafe { (&raw mut (*raw).head).write(head) };
    submit(entry);
}

/// Reads a small value of the application.
#[inline(always)]
fn read_user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}
