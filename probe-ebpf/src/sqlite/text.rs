//! Texts of statements: each is told once, and named by its hash from then on.

use aya_ebpf::{
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_probe_read_user as probe_read_user, bpf_probe_read_user_str as probe_read_user_str},
    },
    macros::map,
    maps::LruHashMap,
    programs::ProbeContext,
};
use probe_common::{
    header::Kind,
    loss::LossCause,
    sqlite::{SQL_CAPTURE, SqlHead, SqlRaw},
};

use crate::{
    process,
    shared::{
        bounds::opaque,
        emit::{discard, lose, reserve, submit},
    },
};

/// Texts that user space knows. One that had to make room is told again.
#[map]
static SQLITE_TEXTS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(8192, 0);

/// The hash of a text, which is told when it is new.
#[inline(always)]
pub(super) fn told(ctx: &ProbeContext, address: u64, bytes: i32) -> Option<u64> {
    let mut entry = reserve::<SqlRaw>()?;
    let raw = entry.as_mut_ptr();
    // SAFETY: `raw` is valid for the whole record.
    let text = unsafe { &raw mut (*raw).text };
    // The hash takes in what stands behind the text.
    for index in 0..SQL_CAPTURE / 8 {
        // SAFETY: within the array. Volatile, so that it becomes no call.
        unsafe { text.cast::<u64>().add(index).write_volatile(0) };
    }
    let len = if bytes < 0 {
        // SAFETY: the destination is as long as said; the helper checks the source.
        let read = unsafe { probe_read_user_str(text.cast(), SQL_CAPTURE as u32, address as *const _) };
        // Its length holds the NUL.
        if read <= 0 { 0 } else { read.cast_unsigned() as usize - 1 }
    } else {
        let want = opaque(bytes.cast_unsigned() as usize);
        let want = if want > SQL_CAPTURE { SQL_CAPTURE } else { want };
        // SAFETY: as above.
        let failed = unsafe { probe_read_user(text.cast(), want as u32, address as *const _) } != 0;
        if failed { 0 } else { want }
    };
    if len == 0 {
        discard(entry);
        lose(LossCause::UserReadFault);
        return None;
    }
    // SAFETY: as above.
    let sql = hash(unsafe { &*text }, len);
    // SAFETY: the value is not looked at.
    if unsafe { SQLITE_TEXTS.get(sql) }.is_some() {
        discard(entry);
        return Some(sql);
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let head =
        SqlHead { header: process::header(ctx, Kind::SqliteText, now), sql, len: len as u32, reserved: 0 };
    // SAFETY: as above.
    unsafe { (&raw mut (*raw).head).write(head) };
    submit(entry);
    if SQLITE_TEXTS.insert(sql, 1, 0).is_err() {
        // It will be told again.
        return Some(sql);
    }
    Some(sql)
}

/// Of the bytes, never 0, with zeroes behind them. Not for tables that somebody could want to fill: these make room.
///
/// By the piece: each place at which it could end is one from which the verifier looks at all that follows.
#[inline(always)]
fn hash(text: &[u64; SQL_CAPTURE / 8], len: usize) -> u64 {
    /// Of the golden ratio, as in many hashes of words.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    /// Words of a piece.
    const PIECE: usize = 32;
    let mut hash = len as u64;
    for (index, words) in text.chunks_exact(PIECE).enumerate() {
        if index * PIECE * 8 >= len {
            break;
        }
        for word in words {
            hash = (hash.rotate_left(29) ^ *word).wrapping_mul(FACTOR);
        }
    }
    hash | 1
}
