//! The section on SQLite databases: a table, and in words what the target waited for and behind whom.

use super::WIDTH;
use super::format::{count, glued, integer, maybe_seconds, percent, plain, seconds, shorten, wrap};
use super::section::table;
use crate::correlate::lock::LockName;
use crate::report::model::{Database, Deed, Holder, Report, Whose};

/// Of a kind that are named in words.
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
    lines.extend(by_whom(database));
    lines.extend(database.behind.iter().take(MAX_NAMED).map(|deed| behind(database, deed, total)));
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
            let snapshot = if statement.busy_snapshot > 0 {
                format!(" ({} with an old snapshot)", integer(statement.busy_snapshot))
            } else {
                String::new()
            };
            format!(", {} with SQLITE_BUSY at once{snapshot}", integer(statement.busy_at_once))
        } else {
            String::new()
        };
        let calls = count(statement.calls, "call");
        format!("- {sql}: {calls}, {} in all{p95}{failed}{at_once}", glued(&seconds(statement.total_s)))
    });
    mutex.into_iter().chain(checkpoints(database)).chain(first).collect()
}

/// Whose requests waited, and which endpoints and stages.
fn by_whom(database: &Database) -> Vec<String> {
    let requests = database.by_request.filter(|requests| requests.waited_at_most > 0).map(|requests| {
        let all = requests.requests as f64;
        let most = if requests.waited_at_most > requests.waited {
            format!(", {} at most", glued(&percent(requests.waited_at_most as f64 / all)))
        } else {
            String::new()
        };
        let waited = glued(&percent(requests.contention_ratio));
        format!("- {waited} of {} waited{most}", count(requests.requests, "request"))
    });
    let named = database.by_whom.iter().take(MAX_NAMED).map(|of| {
        let whose = of.whose.as_ref().map_or_else(|| "nobody knows whom".to_owned(), name_of);
        format!("{} {whose} ({})", glued(&seconds(of.wait_s)), count(of.waits, "wait"))
    });
    let named: Vec<String> = named.collect();
    // Where nothing is known that is not worth a line.
    let is_known = database.by_whom.iter().any(|of| of.whose.is_some());
    let whose = is_known.then(|| format!("- waited: {}", named.join(", ")));
    requests.into_iter().chain(whose).collect()
}

fn name_of(whose: &Whose) -> String {
    match (whose.kind.as_str(), whose.index) {
        ("stage", Some(index)) => format!("stage {index} {}", plain(&whose.name)),
        ("stage", None) => format!("stage {}", plain(&whose.name)),
        _ => plain(&whose.name),
    }
}

/// What, by whom, in which threads.
fn deed(deed: &Deed) -> (String, Vec<String>) {
    let sql = deed.statement.as_ref().map(|sql| shorten(&plain(sql), SQL_WIDTH));
    let lock = deed.lock.map(lock_name);
    let what = sql.clone().or_else(|| lock.clone()).unwrap_or_else(|| "nobody knows what".to_owned());
    let what = match &deed.whose {
        Some(whose) => format!("{what} by {}", name_of(whose)),
        None => what,
    };
    let mut notes = Vec::new();
    notes.extend(lock.filter(|_| sql.is_some()));
    notes.extend(deed.comm.as_deref().map(plain));
    if deed.pid != 0 {
        notes.push(glued(&format!("pid {}", deed.pid)));
    }
    if deed.tid != deed.pid {
        notes.push(glued(&format!("tid {}", deed.tid)));
    }
    if deed.threads > 1 {
        notes.push(format!("most of {} threads", deed.threads));
    }
    if !deed.in_target {
        notes.push("not of the target".to_owned());
    }
    (what, notes)
}

fn behind(database: &Database, of: &Deed, total: f64) -> String {
    let (what, mut notes) = deed(of);
    let is_it = |holder: &&Holder| (holder.pid, holder.tid, Some(holder.lock)) == (of.pid, of.tid, of.lock);
    if let Some(holder) = database.holders.iter().find(is_it) {
        let held =
            holder.hold_s.p95.map_or_else(String::new, |p95| format!(", p95 {}", glued(&seconds(p95))));
        notes.push(format!("{}{held}", count(holder.holds, "hold")));
    }
    // Several readers can be in the way at once.
    let share = if total > 0.0 { (of.total_s / total).min(1.0) } else { 0.0 };
    format!("- {} of it behind {what} ({})", glued(&format!("{:.0} %", share * 100.0)), notes.join(", "))
}

/// Checkpoints of the WAL, and who paid most for them.
fn checkpoints(database: &Database) -> Option<String> {
    let done = &database.wal_checkpoints;
    let longest = glued(&seconds(done.duration_s.max?));
    let paid_by = done.paid_by.first().map_or_else(String::new, |of| {
        let (what, notes) = deed(of);
        let all = total(&done.duration_s);
        let share = if all > 0.0 { (of.total_s / all).min(1.0) } else { 0.0 };
        let share = glued(&format!("{:.0} %", share * 100.0));
        format!("; {share} of that time in {what} ({})", notes.join(", "))
    });
    Some(format!(
        "- {} of the WAL, the longest {longest}: {}, {}{paid_by}",
        count(done.count, "checkpoint"),
        count(done.pages, "page"),
        count(done.fsyncs, "fsync"),
    ))
}

/// As in SQLite's documentation, and in the JSON.
fn lock_name(lock: LockName) -> String {
    serde_json::to_value(lock).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn total(distribution: &crate::report::model::Distribution) -> f64 {
    distribution.mean.unwrap_or_default() * distribution.count as f64
}
