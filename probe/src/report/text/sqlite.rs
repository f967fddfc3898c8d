//! The section on SQLite databases: a table, and in words what the target waited for and behind whom.

use super::WIDTH;
use super::format::{count, glued, integer, maybe_seconds, percent, plain, seconds, shorten, wrap};
use super::section::table;
use crate::correlate::lock::LockName;
use crate::report::model::{Database, Holder, Report};

/// Holders that are named in words.
const MAX_NAMED: usize = 3;
/// Columns of a statement in a sentence.
const SQL_WIDTH: usize = 60;
/// Columns of a path in a sentence.
const PATH_WIDTH: usize = 40;

/// Databases with their waits.
pub(super) fn databases(report: &Report) -> String {
    if report.sqlite.is_empty() {
        return String::new();
    }
    let rows = report.sqlite.iter().map(|database| {
        [
            name(database),
            integer(database.transactions),
            database.contention_ratio.map_or_else(|| "-".to_owned(), percent),
            integer(database.lock_waits),
            maybe_seconds(database.wait_s.p50),
            maybe_seconds(database.wait_s.p95),
            maybe_seconds(database.wait_s.max),
            integer(database.gave_up),
        ]
    });
    let titles = ["SQLITE", "writes", "waited", "waits", "p50", "p95", "max", "gave up"];
    let mut text = table(&titles, rows, WIDTH);
    for database in &report.sqlite {
        for line in sentences(database) {
            text.push_str(&wrap(&line, WIDTH, 2));
            text.push('\n');
        }
    }
    text
}

fn name(database: &Database) -> String {
    let replaced = if database.replaced { ", replaced" } else { "" };
    format!("{} ({}{replaced})", plain(&database.database), plain(&database.journal_mode))
}

/// What a person wants to know first of a database that made somebody wait.
fn sentences(database: &Database) -> Vec<String> {
    let mut lines = Vec::new();
    let unfinished = &database.unfinished_s;
    if database.lock_waits + unfinished.count == 0 {
        lines.extend(statements(database));
        return lines;
    }
    let path = shorten(&plain(&database.database), PATH_WIDTH);
    let total = total(&database.wait_s) + total(unfinished);
    let writes = match database.contention_ratio {
        Some(ratio) if ratio > 0.0 => format!("{} of write transactions waited, ", glued(&percent(ratio))),
        _ => String::new(),
    };
    let p95 = database.wait_s.p95.map_or_else(String::new, |p95| format!("p95 {}, ", glued(&seconds(p95))));
    lines.push(format!("{path}: {writes}{p95}{} in all", glued(&seconds(total))));
    let locks = database.by_lock.iter().map(|lock| {
        let between = if lock.scope == "system" { "between processes" } else { "within a process" };
        format!("{} {} {between}", integer(lock.waits), lock_name(lock.lock))
    });
    let locks: Vec<String> = locks.collect();
    if !locks.is_empty() {
        lines.push(format!("- waits by lock: {}", locks.join(", ")));
    }
    if let (Some(mean), n @ 1..) = (database.overshoot_s.mean, database.overshoot_s.count) {
        let slept = glued(&seconds(mean * n as f64));
        lines.push(format!("- asleep although the lock was free: {slept}"));
    }
    let named = database.holders.iter().filter(|holder| holder.blocked_s > 0.0).take(MAX_NAMED);
    lines.extend(named.map(|holder| behind(holder, total)));
    if let (Some(max), n @ 1..) = (unfinished.max, unfinished.count) {
        let open = count(n, "wait");
        lines.push(format!("- {open} not over at the end, the longest {}", glued(&seconds(max))));
    }
    lines.extend(statements(database));
    lines
}

/// The statements that took longest, and what was no wait for a lock.
fn statements(database: &Database) -> Vec<String> {
    let mutex = &database.mutex_wait_s;
    let mutex = mutex.max.map(|max| {
        let waits = count(mutex.count, "wait");
        format!("- {waits} for a connection that another thread used, the longest {}", glued(&seconds(max)))
    });
    let first = database.statements.iter().take(MAX_NAMED).map(|statement| {
        let sql = shorten(&plain(&statement.sql), SQL_WIDTH);
        let p95 = statement
            .duration_s
            .p95
            .map_or_else(String::new, |p95| format!(", p95 {}", glued(&seconds(p95))));
        let failed = if statement.errors > 0 {
            format!(", {} failed", integer(statement.errors))
        } else {
            String::new()
        };
        let at_once = if statement.busy_at_once > 0 {
            format!(", {} with SQLITE_BUSY at once", integer(statement.busy_at_once))
        } else {
            String::new()
        };
        let calls = count(statement.calls, "call");
        format!("- {sql}: {calls}, {} in all{p95}{failed}{at_once}", glued(&seconds(statement.total_s)))
    });
    mutex.into_iter().chain(first).collect()
}

fn behind(holder: &Holder, total: f64) -> String {
    let comm = holder.comm.as_deref().map_or_else(String::new, |comm| format!("{}, ", plain(comm)));
    let thread = if holder.tid == holder.pid {
        String::new()
    } else {
        format!(", {}", glued(&format!("tid {}", holder.tid)))
    };
    let who = if holder.pid == 0 {
        "others".to_owned()
    } else {
        format!("{comm}{}{thread}", glued(&format!("pid {}", holder.pid)))
    };
    let outside = if holder.in_target || holder.pid == 0 { "" } else { ", not of the target" };
    let held = holder.hold_s.p95.map_or_else(String::new, |p95| format!(", p95 {}", glued(&seconds(p95))));
    // Several readers can be in the way at once.
    let share = if total > 0.0 { (holder.blocked_s / total).min(1.0) } else { 0.0 };
    let sql = holder
        .statement
        .as_ref()
        .map_or_else(String::new, |sql| format!(", held for {}", shorten(&plain(sql), SQL_WIDTH)));
    format!(
        "- {} of it behind {} of {who}{outside}{sql} ({}{held})",
        glued(&format!("{:.0} %", share * 100.0)),
        lock_name(holder.lock),
        count(holder.holds, "hold"),
    )
}

/// As in SQLite's documentation, and in the JSON.
fn lock_name(lock: LockName) -> String {
    serde_json::to_value(lock).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn total(distribution: &crate::report::model::Distribution) -> f64 {
    distribution.mean.unwrap_or_default() * distribution.count as f64
}
