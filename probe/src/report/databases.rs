//! The report's section on SQLite databases.

use super::model::{Checkpoints, Database, Distribution, Holder, LockWaits, Statement};
use crate::aggregate::{DatabaseStats, Databases};
use crate::correlate::lock::Scope;

const NS_PER_S: f64 = 1e9;

/// Every database, by name; those of one name in the order of time.
pub(super) fn section(databases: &Databases, phase: &str) -> Vec<Database> {
    let mut all: Vec<Database> = databases.used().map(|stats| database(stats, phase)).collect();
    all.sort_by(|a, b| a.database.cmp(&b.database));
    all
}

fn database(stats: &DatabaseStats, phase: &str) -> Database {
    let (waited, transactions) = stats.contention();
    Database {
        database: stats.path.clone(),
        phase: phase.to_owned(),
        journal_mode: if stats.is_wal { "wal" } else { "rollback" }.to_owned(),
        replaced: stats.is_replaced,
        transactions: stats.transactions,
        lock_waits: stats.waits.count(),
        contention_ratio: (transactions > 0).then(|| waited as f64 / transactions as f64),
        wait_s: Distribution::from(&stats.waits),
        overshoot_s: Distribution::from(&stats.overshoot),
        attempts: stats.attempts,
        gave_up: stats.gave_up,
        unfinished_s: Distribution::from(&stats.unfinished),
        by_lock: by_lock(stats),
        holders: holders(stats),
        execution_s: Distribution::from(&stats.executions),
        statements: statements(stats),
        mutex_wait_s: Distribution::from(&stats.mutex_waits),
        wal_checkpoints: Checkpoints {
            count: stats.checkpoints.count(),
            duration_s: Distribution::from(&stats.checkpoints),
        },
    }
}

fn by_lock(stats: &DatabaseStats) -> Vec<LockWaits> {
    let of_lock = stats.by_lock.iter().map(|((lock, scope), waits)| LockWaits {
        lock: *lock,
        scope: match scope {
            Scope::Threads => "process",
            Scope::Processes => "system",
        }
        .to_owned(),
        waits: waits.waits.count(),
        wait_s: Distribution::from(&waits.waits),
    });
    of_lock.collect()
}

fn holders(stats: &DatabaseStats) -> Vec<Holder> {
    let mut holders: Vec<_> = stats.holders.iter().collect();
    // By owner where they are equal: the same run gives the same report.
    holders.sort_by_key(|(_, hold)| std::cmp::Reverse((hold.blocked_ns, hold.holds)));
    let holders = holders.into_iter().map(|((owner, lock), hold)| Holder {
        pid: owner.pid,
        tid: owner.tid,
        comm: hold.comm.clone(),
        in_target: hold.traced,
        lock: *lock,
        holds: hold.holds,
        hold_s: Distribution::from(&hold.held),
        blocked_s: hold.blocked_ns as f64 / NS_PER_S,
        statement: hold.blocked_by.iter().max_by_key(|(_, ns)| **ns).map(|(sql, _)| (**sql).to_owned()),
    });
    holders.collect()
}

fn statements(stats: &DatabaseStats) -> Vec<Statement> {
    let of_text = stats.statements.iter().map(|(sql, statement)| {
        let duration_s = Distribution::from(&statement.duration);
        Statement {
            sql: (**sql).to_owned(),
            calls: statement.duration.count(),
            rows: statement.rows,
            errors: statement.errors,
            busy: statement.busy,
            busy_at_once: statement.busy_at_once,
            total_s: duration_s.mean.unwrap_or_default() * statement.duration.count() as f64,
            duration_s,
            lock_waits: statement.waits,
            lock_wait_s: statement.waited_ns as f64 / NS_PER_S,
        }
    });
    let mut statements: Vec<Statement> = of_text.collect();
    statements.sort_by(|a, b| b.total_s.total_cmp(&a.total_s).then_with(|| a.sql.cmp(&b.sql)));
    statements
}
