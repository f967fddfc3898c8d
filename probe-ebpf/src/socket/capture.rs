//! Copies the bytes at request boundaries out of the application's buffers and sends them up.
//!
//! Small calls go up whole; of large ones the start, as much as a head needs, and of large writes the last
//! bytes, where a chunked body ends. What is not copied is still counted by its length.

use aya_ebpf::{
    helpers::{bpf_probe_read_user, generated::bpf_probe_read_user as probe_read_user},
    macros::map,
    maps::PerCpuArray,
};
use probe_common::{
    header::Kind,
    loss::LossCause,
    socket::{
        CONN_UPGRADED, DataHead, DataRaw, MAX_IOVECS, RECV_BODY_CAPTURE, RECV_CAPTURE, RECV_TAIL_CAPTURE,
        SEND_BODY_CAPTURE, SEND_CAPTURE, TAIL_CAPTURE, UPGRADED_PIECE, UPGRADED_PIECES,
    },
};

use crate::shared::{
    bounds::opaque,
    emit::{emit_bytes, lose},
    fdio::Buffer,
};

/// Where a record is put together: too big for the stack. `sys_exit`'s program never runs twice at once on a CPU,
/// so the slot is its own.
#[map]
static SCRATCH: PerCpuArray<DataRaw> = PerCpuArray::with_max_entries(1, 0);

/// Bytes of a call that go up: of one that begins like a head, of another one, and the last ones of a longer one.
#[derive(Clone, Copy)]
struct Limits {
    whole: usize,
    body: usize,
    tail: usize,
}

const OF_READS: Limits = Limits { whole: RECV_CAPTURE, body: RECV_BODY_CAPTURE, tail: RECV_TAIL_CAPTURE };
const OF_WRITES: Limits = Limits { whole: SEND_CAPTURE, body: SEND_BODY_CAPTURE, tail: TAIL_CAPTURE };

/// Where "HTTP/1.1 101" has its status.
const STATUS: usize = 8;

/// Begins the record of a call, which [`emit`] sends up.
#[inline(always)]
pub(crate) fn begin(head: &DataHead) -> Option<()> {
    let raw = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's slot; see `SCRATCH`.
    unsafe { (*raw).head = *head };
    Some(())
}

/// Sends up the call that was begun, with its bytes; true where it is the response that ends HTTP on its connection. It
/// stands in the program once, for reads and writes alike: the verifier looks at it for each way on which it can come there.
#[inline(always)]
pub(crate) fn emit(buffer: Buffer) -> bool {
    let Some(raw) = SCRATCH.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's slot; see `SCRATCH`.
    let raw = unsafe { &mut *raw };
    if raw.head.flags & CONN_UPGRADED != 0
        && let Buffer::Flat(base) = buffer
    {
        emit_whole(raw, base);
        return false;
    }
    emit_parts(raw, buffer);
    raw.head.header.kind == Kind::Send as u32 && raw.head.head_len as usize >= STATUS + 4 && {
        let bytes = &raw.bytes;
        let status = [bytes[STATUS], bytes[STATUS + 1], bytes[STATUS + 2], bytes[STATUS + 3]];
        u32::from_ne_bytes(status) == u32::from_ne_bytes(*b" 101")
    }
}

/// Sends up a call on one buffer with all its bytes, in pieces that each look like a call of their own: where frames begin
/// is user space's to find, and it may be anywhere. What is beyond the bound is counted.
#[inline(always)]
fn emit_whole(raw: &mut DataRaw, base: u64) {
    let total = raw.head.bytes;
    let end_seq = raw.head.end_seq;
    for i in 0..UPGRADED_PIECES {
        let at = i * UPGRADED_PIECE as u64;
        let left = total - at;
        let want = opaque(left as usize);
        let is_last = want <= UPGRADED_PIECE || i + 1 == UPGRADED_PIECES;
        let want = if want > UPGRADED_PIECE { UPGRADED_PIECE } else { want };
        // SAFETY: a piece is as large as the record's room for it; the helper checks the source.
        let failed =
            unsafe { probe_read_user(raw.bytes.as_mut_ptr().cast(), want as u32, (base + at) as *const _) };
        if failed != 0 {
            lose(LossCause::UserReadFault);
            return;
        }
        let bytes = if is_last { left } else { UPGRADED_PIECE as u64 };
        raw.head.bytes = bytes;
        raw.head.head_len = want as u32;
        raw.head.end_seq = if end_seq == 0 { 0 } else { end_seq.wrapping_sub((left - bytes) as u32) };
        let len = size_of::<DataHead>() + want;
        // SAFETY: as in `emit_parts`.
        emit_bytes(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(raw).cast::<u8>(), len) });
        if is_last {
            return;
        }
    }
}

/// The first four bytes of a buffer; what is behind a shorter one's end means nothing.
#[inline(always)]
pub(crate) fn first_bytes(buffer: Buffer) -> Option<[u8; 4]> {
    read_user(start_of(buffer)?)
}

/// The first byte of a buffer, and the four behind it in network order.
#[inline(always)]
pub(crate) fn first_byte_and_word(buffer: Buffer) -> Option<(u8, u32)> {
    let bytes: [u8; 5] = read_user(start_of(buffer)?)?;
    Some((bytes[0], u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]])))
}

#[inline(always)]
fn start_of(buffer: Buffer) -> Option<u64> {
    match buffer {
        Buffer::Flat(base) => Some(base),
        Buffer::Iovecs(vector, _) => read_user(vector),
        Buffer::Message(message) | Buffer::Messages(message) => read_user(iovecs_of(message).0),
        Buffer::Elsewhere => None,
    }
}

/// A method token is letters, and so is "HTTP".
#[inline(always)]
fn is_head(start: [u8; 4]) -> bool {
    start[0].is_ascii_uppercase() && start[1].is_ascii_uppercase()
}

/// Sends up the parts of a call that say what it is.
#[inline(always)]
fn emit_parts(raw: &mut DataRaw, buffer: Buffer) {
    let Limits { whole, body, tail } =
        if raw.head.header.kind == Kind::Recv as u32 { OF_READS } else { OF_WRITES };
    let (base, iovecs) = match buffer {
        Buffer::Flat(base) => (base, None),
        Buffer::Iovecs(vector, count) => (0, Some((vector, count))),
        Buffer::Message(message) => (0, Some(iovecs_of(message))),
        Buffer::Elsewhere | Buffer::Messages(_) => (0, Some((0, 0))),
    };
    let bytes = raw.head.bytes as usize;
    let (head_len, tail_len) = if let Some((vector, count)) = iovecs {
        let got = gather(raw, vector, count, bytes.min(whole));
        let tail_len = if bytes > got + tail {
            // The end of the last vector is the end of what was moved only if all of it was.
            let (end, total) = end_of(vector, count, tail as u64);
            if end != 0 && total == raw.head.bytes { copy(raw, got, end - tail as u64, tail) } else { 0 }
        } else {
            0
        };
        (got, tail_len)
    } else {
        let want = if bytes <= whole {
            bytes
        } else if read_user::<[u8; 4]>(base).is_some_and(is_head) {
            whole
        } else {
            body
        };
        let got = copy(raw, 0, base, want);
        let tail_len = if bytes > want + tail && got == want {
            copy(raw, got, base + (bytes - tail) as u64, tail)
        } else {
            0
        };
        (got, tail_len)
    };
    raw.head.head_len = head_len as u32;
    raw.head.tail_len = tail_len as u32;
    let len = (size_of::<DataHead>() + head_len + tail_len).min(size_of::<DataRaw>());
    // SAFETY: `len` is within the record, whose bytes are all initialised (map memory starts zeroed).
    emit_bytes(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(raw).cast::<u8>(), len) });
}

/// The vector of a `struct msghdr` of the application: `msg_iov` at 16, `msg_iovlen` at 24 (ABI, 64 bit).
#[inline(always)]
fn iovecs_of(message: u64) -> (u64, u64) {
    read_user(message + 16).unwrap_or((0, 0))
}

/// Copies up to `want` bytes from an array of `struct iovec` to the front of the record.
#[inline(always)]
fn gather(raw: &mut DataRaw, vector: u64, count: u64, want: usize) -> usize {
    let mut got = 0usize;
    for i in 0..MAX_IOVECS as u64 {
        if i >= count || got >= want {
            return got;
        }
        let Some((base, len)) = read_user::<(u64, u64)>(vector + i * 16) else { return got };
        let take = (len as usize).min(want - got);
        let copied = copy(raw, got, base, take);
        got += copied;
        if copied != take {
            return got;
        }
    }
    if got < want && count > MAX_IOVECS as u64 {
        lose(LossCause::IovecsUnread);
    }
    got
}

/// End of the last vector (0 when it is shorter than a tail, or too many to look at) and bytes of all. A walk of its
/// own: together with the copying one it would cost the verifier a second.
#[inline(always)]
fn end_of(vector: u64, count: u64, tail: u64) -> (u64, u64) {
    let (mut end, mut total) = (0, 0);
    for i in 0..MAX_IOVECS as u64 {
        if i >= count {
            return (end, total);
        }
        let Some((base, len)) = read_user::<(u64, u64)>(vector + i * 16) else { return (0, 0) };
        total += len;
        end = if len >= tail { base + len } else { 0 };
    }
    if count > MAX_IOVECS as u64 { (0, 0) } else { (end, total) }
}

/// Copies `len` bytes of the application to `offset` of the record; returns how many, which is all or 0.
#[inline(always)]
fn copy(raw: &mut DataRaw, offset: usize, from: u64, len: usize) -> usize {
    // The masks tell the verifier what the callers know. A comparison would do on newer kernels; 5.10 forgets it when
    // the length goes through a 32-bit argument, and what it knew of either when it goes over the stack: so both are
    // masked last.
    let len = opaque(len.min(RECV_CAPTURE)) & (2 * RECV_CAPTURE - 1);
    if len == 0 {
        return 0;
    }
    let offset = opaque(offset) & (2 * RECV_CAPTURE - 1);
    // SAFETY: offset + len is at most 4 * RECV_CAPTURE - 2, within the record; the helper checks the source.
    let failed =
        unsafe { probe_read_user(raw.bytes.as_mut_ptr().add(offset).cast(), len as u32, from as *const _) };
    if failed != 0 {
        lose(LossCause::UserReadFault);
        return 0;
    }
    len
}

/// Reads a small value of the application.
#[inline(always)]
fn read_user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}
