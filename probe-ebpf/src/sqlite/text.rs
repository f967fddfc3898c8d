//! Texts of statements: each is told once, and named by its hash from then on.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_probe_read_user as probe_read_user, bpf_probe_read_user_str as probe_read_user_str},
    },
    macros::map,
    maps::LruHashMap,
};
use probe_common::{
    header::Kind,
    sqlite::{SQL_CAPTURE, SqlHead, SqlRaw},
};

use crate::{
    process,
    shared::{
        bounds::opaque,
        emit::{discard, reserve, submit},
    },
};

/// Texts that user space knows. One that had to make room is told again.
#[map]
static SQLITE_TEXTS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(8192, 0);

/// What became of a text.
pub(super) enum Text {
    /// It is told; its hash.
    Told(u64),
    /// Its page is not resident.
    NotResident,
    /// It is empty, or there was no room to put it together, which is counted.
    None,
}

/// Tells a text when it is new.
#[inline(always)]
pub(super) fn tell(ctx: &impl EbpfContext, address: u64, bytes: i32) -> Text {
    let Some(mut entry) = reserve::<SqlRaw>() else { return Text::None };
    let raw = entry.as_mut_ptr();
    // SAFETY: `raw` is valid for the whole record.
    let text = unsafe { &raw mut (*raw).text };
    // The hash takes in what stands behind the text.
    for index in 0..SQL_CAPTURE / 8 {
        // SAFETY: within the array. Volatile, so that it becomes no call.
        unsafe { text.cast::<u64>().add(index).write_volatile(0) };
    }
    let (is_read, len) = if bytes < 0 {
        // SAFETY: the destination is as long as said; the helper checks the source.
        let read = unsafe { probe_read_user_str(text.cast(), SQL_CAPTURE as u32, address as *const _) };
        // Its length holds the NUL.
        (read > 0, if read <= 0 { 0 } else { read.cast_unsigned() as usize - 1 })
    } else {
        let want = opaque(bytes.cast_unsigned() as usize);
        let want = if want > SQL_CAPTURE { SQL_CAPTURE } else { want };
        // SAFETY: as above.
        let failed = unsafe { probe_read_user(text.cast(), want as u32, address as *const _) } != 0;
        (!failed, want)
    };
    if !is_read || len == 0 {
        discard(entry);
        return if is_read { Text::None } else { Text::NotResident };
    }
    // SAFETY: as above.
    let sql = hash(unsafe { &*text }, len);
    // SAFETY: the value is not looked at.
    if unsafe { SQLITE_TEXTS.get(sql) }.is_some() {
        discard(entry);
        return Text::Told(sql);
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let head =
        SqlHead { header: process::header(ctx, Kind::SqliteText, now), sql, len: len as u32, reserved: 0 };
    // SAFETY: as above.
    unsafe { (&raw mut (*raw).head).write(head) };
    submit(entry);
    // Where this fails it will be told again.
    let _ = SQLITE_TEXTS.insert(sql, 1, 0);
    Text::Told(sql)
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
