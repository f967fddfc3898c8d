//! Statements: what SQLite's functions were called with, from probes on them.
//!
//! Preparing and stepping nest: the schema is read by statements of SQLite's own. The outermost call counts, which is told
//! by the stack: what is called from inside lies deeper. That also forgives calls whose return was never seen.
//!
//! Programs on functions can be preempted, so nothing here is in per-CPU memory.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_ktime_get_ns, bpf_probe_read_user},
    macros::{map, uprobe, uretprobe},
    maps::LruHashMap,
    programs::{ProbeContext, RawTracePointContext, RetProbeContext},
};
use probe_common::{
    header::Kind,
    loss::LossCause,
    sqlite::{Inside, MutexRaw, StatementRaw},
};

use super::text::{self, Text};
use crate::{
    process,
    shared::{
        emit::{emit, lose},
        fdio::Call,
        regs,
    },
};

/// A prepared statement of a process.
#[repr(C)]
#[derive(Clone, Copy)]
struct Key {
    statement: u64,
    tgid: u64,
}

/// What is known of a statement, and its execution under way.
#[repr(C)]
#[derive(Clone, Copy)]
struct Prepared {
    sql: u64,
    connection: u64,
    /// 0 when it is not being executed.
    enter_ns: u64,
    busy_ns: u64,
    rows: u64,
}

/// By thread. A hash map because thread ids are sparse; the least recently used make room, because a thread can end inside
/// a call.
#[map]
static SQLITE_INSIDE: LruHashMap<u32, Inside> = LruHashMap::with_max_entries(16_384, 0);

/// A hash map because statements are addresses; the least recently used make room, because processes end without
/// finalizing.
#[map]
static SQLITE_STATEMENTS: LruHashMap<Key, Prepared> = LruHashMap::with_max_entries(16_384, 0);

/// `SQLITE_OK`, `SQLITE_ROW` (sqlite3.h).
const OK: i32 = 0;
/// See [`OK`].
const ROW: i32 = 100;

/// `sqlite3_prepare(db, sql, bytes, &statement, &tail)`, `sqlite3_prepare_v2` alike.
#[uprobe]
pub(crate) fn sqlite_prepare(ctx: ProbeContext) -> u32 {
    prepare(&ctx, 3).unwrap_or(0)
}

/// `sqlite3_prepare_v3(db, sql, bytes, flags, &statement, &tail)`.
#[uprobe]
pub(crate) fn sqlite_prepare_flags(ctx: ProbeContext) -> u32 {
    prepare(&ctx, 4).unwrap_or(0)
}

/// `sqlite3LockAndPrepare(db, sql, bytes, flags, old, &statement, &tail)`: what all of these call, and whoever has SQLite
/// inside calls without them.
#[uprobe]
pub(crate) fn sqlite_prepare_inner(ctx: ProbeContext) -> u32 {
    prepare(&ctx, 5).unwrap_or(0)
}

/// The return of any of these.
#[uretprobe]
pub(crate) fn sqlite_prepared(ctx: RetProbeContext) -> u32 {
    prepared(&ctx).unwrap_or(0)
}

/// `sqlite3_step(statement)`.
#[uprobe]
pub(crate) fn sqlite_step(ctx: ProbeContext) -> u32 {
    step(&ctx).unwrap_or(0)
}

/// Its return.
#[uretprobe]
pub(crate) fn sqlite_stepped(ctx: RetProbeContext) -> u32 {
    stepped(&ctx).unwrap_or(0)
}

/// `sqlite3_reset(statement)`: nothing more of this execution will come.
#[uprobe]
pub(crate) fn sqlite_reset(ctx: ProbeContext) -> u32 {
    reset(&ctx, false).unwrap_or(0)
}

/// `sqlite3_finalize(statement)`.
#[uprobe]
pub(crate) fn sqlite_finalize(ctx: ProbeContext) -> u32 {
    reset(&ctx, true).unwrap_or(0)
}

/// The text of the statement that this thread is executing; 0 when there is none that is known.
#[inline(always)]
pub(super) fn current(tid: u32) -> u64 {
    // SAFETY: only this thread writes its entry, and it is here.
    unsafe { SQLITE_INSIDE.get(tid) }.map_or(0, |inside| inside.sql)
}

/// Waits for shorter than this are no waits, nanoseconds: a mutex that comes free while the call is on its way.
const MUTEX_MIN_NS: u64 = 10_000;

/// futex, at its return.
#[inline(always)]
pub(crate) fn futex(ctx: &RawTracePointContext, call: &Call, operation: u64) -> Option<i32> {
    /// `FUTEX_WAIT`, without the flags (include/uapi/linux/futex.h).
    const WAIT: u64 = 0;
    const COMMAND: u64 = 127;
    if operation & COMMAND != WAIT || call.took_ns() < MUTEX_MIN_NS {
        return None;
    }
    // SAFETY: as in `current`.
    let inside = unsafe { SQLITE_INSIDE.get(ctx.pid()) }?;
    emit(&MutexRaw {
        header: process::header(ctx, Kind::SqliteMutex, call.ts_ns),
        enter_ns: call.enter_ns,
        sql: inside.sql,
        connection: inside.connection,
    });
    Some(0)
}

/// Takes note of a call unless it is one inside another.
#[inline(always)]
fn is_outermost(tid: u32, stack: u64) -> bool {
    // SAFETY: as in `current`.
    unsafe { SQLITE_INSIDE.get(tid) }.is_none_or(|inside| inside.stack <= stack)
}

#[inline(always)]
fn begin(ctx: &ProbeContext, inside: Inside) {
    if SQLITE_INSIDE.insert(ctx.pid(), inside, 0).is_err() {
        lose(LossCause::ThreadTableFull);
    }
}

/// The call that a return belongs to; none for the return of one inside another.
#[inline(always)]
fn end(ctx: &RetProbeContext) -> Option<(Inside, u64)> {
    process::traced(ctx.pid())?;
    // SAFETY: as in `current`.
    let inside = *unsafe { SQLITE_INSIDE.get(ctx.pid()) }?;
    if regs::user_stack(ctx.regs as u64)? != inside.stack + regs::RETURN_ADDRESS {
        return None;
    }
    // Present: just read.
    let _ = SQLITE_INSIDE.remove(ctx.pid());
    // SAFETY: a helper without arguments.
    Some((inside, unsafe { bpf_ktime_get_ns() }))
}

#[inline(always)]
fn key(tgid: u32, statement: u64) -> Key {
    Key { statement, tgid: u64::from(tgid) }
}

#[inline(always)]
fn prepare(ctx: &ProbeContext, place: usize) -> Option<u32> {
    process::traced(ctx.pid())?;
    let stack = regs::user_stack(ctx.regs as u64)?;
    if !is_outermost(ctx.pid(), stack) {
        return None;
    }
    let (address, bytes): (u64, i32) = (ctx.arg(1)?, ctx.arg(2)?);
    let (sql, unread) = match text::tell(ctx, address, bytes) {
        Text::Told(sql) => (sql, 0),
        Text::NotResident => (0, address),
        Text::None => (0, 0),
    };
    let inside = Inside {
        stack,
        // SAFETY: a helper without arguments.
        enter_ns: unsafe { bpf_ktime_get_ns() },
        sql,
        connection: ctx.arg(0)?,
        statement: ctx.arg(place)?,
        unread,
        unread_len: i64::from(bytes),
    };
    begin(ctx, inside);
    None
}

#[inline(always)]
fn prepared(ctx: &RetProbeContext) -> Option<u32> {
    let (inside, now) = end(ctx)?;
    let code: i32 = ctx.ret();
    let Inside { enter_ns, connection, .. } = inside;
    let sql = if inside.unread == 0 { inside.sql } else { late_text(ctx, &inside) };
    let busy_ns = now - enter_ns;
    if code != OK {
        emit(&StatementRaw {
            header: process::header(ctx, Kind::SqliteStatement, now),
            enter_ns,
            busy_ns,
            sql,
            connection,
            rows: 0,
            code,
        });
        return None;
    }
    // SAFETY: the helper checks the address and fails instead of faulting.
    let statement = unsafe { bpf_probe_read_user(inside.statement as *const u64) }.ok()?;
    if statement == 0 {
        // An empty text.
        return None;
    }
    let prepared = Prepared { sql, connection, enter_ns: 0, busy_ns, rows: 0 };
    if SQLITE_STATEMENTS.insert(key(ctx.tgid(), statement), prepared, 0).is_err() {
        lose(LossCause::SqliteTableFull);
    }
    None
}

/// The text that was not resident before SQLite looked at it; 0 if it still cannot be read, which is counted.
#[inline(always)]
fn late_text(ctx: &RetProbeContext, inside: &Inside) -> u64 {
    match text::tell(ctx, inside.unread, inside.unread_len as i32) {
        Text::Told(sql) => sql,
        Text::NotResident => {
            lose(LossCause::UserReadFault);
            0
        }
        Text::None => 0,
    }
}

#[inline(always)]
fn step(ctx: &ProbeContext) -> Option<u32> {
    process::traced(ctx.pid())?;
    let stack = regs::user_stack(ctx.regs as u64)?;
    if !is_outermost(ctx.pid(), stack) {
        return None;
    }
    let statement: u64 = ctx.arg(0)?;
    // SAFETY: a statement is used by one thread at a time: SQLite holds its connection's mutex.
    let (sql, connection) = unsafe { SQLITE_STATEMENTS.get(key(ctx.tgid(), statement)) }
        .map_or((0, 0), |prepared| (prepared.sql, prepared.connection));
    // SAFETY: a helper without arguments.
    let enter_ns = unsafe { bpf_ktime_get_ns() };
    begin(ctx, Inside { stack, enter_ns, sql, connection, statement, ..Inside::default() });
    None
}

#[inline(always)]
fn stepped(ctx: &RetProbeContext) -> Option<u32> {
    let (inside, now) = end(ctx)?;
    let code: i32 = ctx.ret();
    let key = key(ctx.tgid(), inside.statement);
    let Some(prepared) = SQLITE_STATEMENTS.get_ptr_mut(key) else {
        // Older than our view, or it had to make room.
        let prepared = Prepared { sql: 0, connection: 0, enter_ns: 0, busy_ns: 0, rows: 0 };
        let _ = SQLITE_STATEMENTS.insert(key, prepared, 0);
        if code != ROW {
            over(
                ctx,
                &Prepared { enter_ns: inside.enter_ns, busy_ns: now - inside.enter_ns, ..prepared },
                code,
                now,
            );
        } else if let Some(prepared) = SQLITE_STATEMENTS.get_ptr_mut(key) {
            // SAFETY: as in `step`.
            let prepared = unsafe { &mut *prepared };
            prepared.enter_ns = inside.enter_ns;
            prepared.busy_ns = now - inside.enter_ns;
            prepared.rows = 1;
        }
        return None;
    };
    // SAFETY: as in `step`.
    let prepared = unsafe { &mut *prepared };
    prepared.busy_ns += now - inside.enter_ns;
    if prepared.enter_ns == 0 {
        prepared.enter_ns = inside.enter_ns;
    }
    if code == ROW {
        prepared.rows += 1;
        return None;
    }
    over(ctx, prepared, code, now);
    (prepared.enter_ns, prepared.busy_ns, prepared.rows) = (0, 0, 0);
    None
}

#[inline(always)]
fn reset(ctx: &ProbeContext, is_end: bool) -> Option<u32> {
    process::traced(ctx.pid())?;
    let key = key(ctx.tgid(), ctx.arg(0)?);
    // SAFETY: as in `step`.
    let prepared = unsafe { &mut *SQLITE_STATEMENTS.get_ptr_mut(key)? };
    if prepared.enter_ns != 0 {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        over(ctx, prepared, ROW, now);
        (prepared.enter_ns, prepared.busy_ns, prepared.rows) = (0, 0, 0);
    }
    if is_end {
        // Present: just looked at.
        let _ = SQLITE_STATEMENTS.remove(key);
    }
    None
}

/// Tells of an execution that is over.
#[inline(always)]
fn over(ctx: &impl EbpfContext, prepared: &Prepared, code: i32, now: u64) {
    emit(&StatementRaw {
        header: process::header(ctx, Kind::SqliteStatement, now),
        enter_ns: prepared.enter_ns,
        busy_ns: prepared.busy_ns,
        sql: prepared.sql,
        connection: prepared.connection,
        rows: prepared.rows as u32,
        code,
    });
}
