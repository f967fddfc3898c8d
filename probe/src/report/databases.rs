//! The report's section on SQLite databases.

use std::collections::BTreeMap;

use super::model::{
    Checkpoints, Database, Deed, Distribution, Holder, LockWaits, RequestWaits, Statement, WaitsOf, Whose,
};
use crate::aggregate::{self, DatabaseStats, Databases, Sum};
use crate::correlate::lock::Scope;

const NS_PER_S: f64 = 1e9;

/// Every database, by name; those of one name in the order of time.
pub(super) fn section(databases: &Databases, phase: &str) -> Vec<Database> {
    let mut all: Vec<Database> = databases.used().map(|stats| database(databases, stats, phase)).collect();
    all.sort_by(|a, b| a.database.cmp(&b.database));
    all
}

fn database(databases: &Databases, stats: &DatabaseStats, phase: &str) -> Database {
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
        by_whom: by_whom(stats),
        by_request: by_request(stats),
        behind: deeds(databases, &stats.blame.behind),
        holders: holders(stats),
        execution_s: Distribution::from(&stats.executions),
        statements: statements(stats),
        mutex_wait_s: Distribution::from(&stats.mutex_waits),
        wal_checkpoints: Checkpoints {
            count: stats.checkpoints.duration.count(),
            duration_s: Distribution::from(&stats.checkpoints.duration),
            pages: stats.checkpoints.pages,
            bytes: stats.checkpoints.bytes,
            fsyncs: stats.checkpoints.syncs,
            fsync_s: stats.checkpoints.sync_ns as f64 / NS_PER_S,
            paid_by: deeds(databases, &stats.blame.checkpoints),
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

fn by_whom(stats: &DatabaseStats) -> Vec<WaitsOf> {
    let each = stats.blame.waits.iter().map(|(of, sum)| WaitsOf {
        whose: whose(of),
        waits: sum.times,
        wait_s: sum.ns as f64 / NS_PER_S,
    });
    let mut all: Vec<WaitsOf> = each.collect();
    all.sort_by(|a, b| b.wait_s.total_cmp(&a.wait_s));
    all
}

fn by_request(stats: &DatabaseStats) -> Option<RequestWaits> {
    let (waited, waited_at_most) = stats.requests_waited();
    let requests = stats.requests;
    (requests > 0).then(|| RequestWaits {
        requests,
        waited,
        waited_at_most,
        contention_ratio: waited as f64 / requests as f64,
    })
}

/// Those first that took longest.
fn deeds(databases: &Databases, all: &BTreeMap<aggregate::Deed, Sum>) -> Vec<Deed> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.ns));
    let deed = |(deed, sum): (&aggregate::Deed, &Sum)| {
        let most = sum.owners.iter().max_by_key(|(_, ns)| **ns).map(|(owner, _)| *owner);
        Deed {
            lock: deed.lock,
            statement: deed.sql.as_deref().map(str::to_owned),
            whose: whose(&deed.whose),
            in_target: deed.traced,
            times: sum.times,
            total_s: sum.ns as f64 / NS_PER_S,
            threads: sum.owners.len() as u64,
            pid: most.map_or(0, |owner| owner.pid),
            tid: most.map_or(0, |owner| owner.tid),
            comm: most.and_then(|owner| databases.comm(owner.tid)).map(str::to_owned),
        }
    };
    all.into_iter().map(deed).collect()
}

fn whose(whose: &aggregate::Whose) -> Option<Whose> {
    let (kind, name, index, joined_by) = match whose {
        aggregate::Whose::Endpoint { name, by_reader: true } => ("endpoint", name, None, "thread"),
        aggregate::Whose::Endpoint { name, by_reader: false } => ("endpoint", name, None, "only_in_flight"),
        aggregate::Whose::Stage { name, index } => ("stage", name, *index, "checkpoint"),
        aggregate::Whose::Unknown => return None,
    };
    Some(Whose {
        kind: kind.to_owned(),
        name: name.as_ref().to_owned(),
        index,
        joined_by: joined_by.to_owned(),
    })
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
            busy_snapshot: statement.busy_snapshot,
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
