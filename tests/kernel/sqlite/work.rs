//! Whose the waits are, and behind whom: endpoints and stages that are known by construction.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    client::{Conn, Request},
    host,
    locks::{Deed, WaitsOf, Whose},
    probe::{Outcome, Probe},
    servers,
    stats::Tolerance,
    wait,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Pair, database,
    holders::{target, until_asleep},
};
use crate::{Suite, add, watch::CLOCK_NANOSLEEP};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, requests_that_waited, stages_that_waited, share_of_a_stage, objectives_on_waits);
}

/// The server's thread that SQLite put to sleep.
fn until_one_sleeps(pid: u32) -> Result<()> {
    wait::until("a thread that waits for a lock", wait::SOON, || {
        let is_asleep = |tid: &u32| host::sleeping_in(*tid) == Some(CLOCK_NANOSLEEP);
        Ok(host::thread_ids(pid).iter().any(is_asleep).then_some(()))
    })
}

fn of<'a>(all: &'a [WaitsOf], name: Option<&str>) -> Result<&'a WaitsOf> {
    let found = all.iter().find(|of| of.whose.as_ref().map(|whose| whose.name.as_str()) == name);
    found.with_context(|| format!("{name:?} is not in {all:?}"))
}

fn is_by(deed: &Deed, name: &str) -> bool {
    deed.whose.as_ref().is_some_and(|whose| whose.name == name)
}

/// Ends a run whose verdict is its exit code.
fn judged(probe: Probe) -> Result<Outcome> {
    probe.signal(Signal::SIGINT)?;
    probe.outcome(wait::SOON)
}

const OBJECTIVES: &str = r#"
name = "test"

# The audit's: at least two of eight, so it fails whoever the others were.
[[objective]]
id = "contention"
database = "*"
metric = "request_contention"
target = "5%"
limit = "5%"

# With two it would be a pass, with four it would not.
[[objective]]
id = "between"
database = "*"
metric = "request_contention"
target = "40%"
limit = "40%"
"#;

#[derive(Debug, Deserialize)]
struct Objective {
    id: String,
    verdict: String,
    reason: Option<String>,
}

/// Requests in worker threads and on the loop's own, alone and beside others.
fn requests_that_waited() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let (mut other, _) = target(&path, "wal")?;
    let server = servers::lock_server(&path)?;
    let probe = Probe::attach_with(server.pid(), OBJECTIVES, &[])?;
    let mut conn = Conn::open(server.addr())?;
    for path in ["/write/0", "/direct"] {
        ensure!(conn.exchange(&Request::get(path))?.status == 200);
    }
    // One that is alone: in a worker thread, and on the loop.
    for path in ["/write/0", "/direct"] {
        other.sql("a", "a", "BEGIN IMMEDIATE")?;
        conn.send(&Request::get(path).bytes)?;
        until_one_sleeps(server.pid())?;
        other.sql("a", "a", "COMMIT")?;
        ensure!(conn.reply(false)?.status == 200);
    }
    // One beside another that has nothing to do with it: nobody can tell.
    let mut beside = Conn::open(server.addr())?;
    beside.send(&Request::get("/idle").bytes)?;
    server.settle()?;
    other.sql("a", "a", "BEGIN IMMEDIATE")?;
    conn.send(&Request::get("/write/0").bytes)?;
    until_one_sleeps(server.pid())?;
    other.sql("a", "a", "COMMIT")?;
    ensure!(conn.reply(false)?.status == 200);
    fs::write(folder.path().join("done"), "")?;
    ensure!(beside.reply(false)?.status == 200);
    // One behind another of its own endpoint.
    beside.send(&Request::get("/write/1").bytes)?;
    wait::until("a held transaction", wait::SOON, || Ok(folder.path().join("held").exists().then_some(())))?;
    conn.send(&Request::get("/write/0").bytes)?;
    until_one_sleeps(server.pid())?;
    fs::write(folder.path().join("go"), "go")?;
    ensure!(beside.reply(false)?.status == 200);
    ensure!(conn.reply(false)?.status == 200);
    let outcome = judged(probe)?;
    let got = database(&outcome.report, &path)?;
    ensure!((got.lock_waits, got.transactions) == (4, 7), "{got:?}");
    let requests = got.by_request.context("no requests")?;
    // The last one can be told if it woke after the other had its answer.
    ensure!((requests.requests, requests.waited_at_most) == (8, 4), "{requests:?}");
    ensure!((2..=3).contains(&requests.waited), "{requests:?}");
    let joined_by = |of: &WaitsOf| of.whose.as_ref().map(|whose| whose.joined_by.clone());
    for (name, waits, by) in [
        (Some("GET /write/{id}"), 2, Some("only_in_flight")),
        (Some("GET /direct"), 1, Some("thread")),
        (None, 1, None),
    ] {
        let found = of(&got.by_whom, name)?;
        ensure!((found.waits, joined_by(found).as_deref()) == (waits, by), "{:?}", got.by_whom);
    }
    let behind: Vec<&Deed> = got.behind.iter().filter(|deed| is_by(deed, "GET /write/{id}")).collect();
    ensure!(behind.len() == 1 && behind[0].times == 1, "{:?}", got.behind);
    ensure!(behind[0].statement.as_deref() == Some("INSERT INTO t VALUES (?)"), "{behind:?}");
    let verdicts: Vec<Objective> = outcome.report.at("/objectives")?;
    let told: Vec<_> = verdicts.iter().map(|told| (told.id.as_str(), told.verdict.as_str())).collect();
    ensure!(told == [("contention", "fail"), ("between", "inconclusive")], "{verdicts:?}");
    ensure!(verdicts[1].reason.as_ref().is_some_and(|why| why.contains("cannot be told")), "{verdicts:?}");
    ensure!(outcome.status.code() == Some(3), "{}", outcome.status);
    Ok(())
}

const STAGES: &str = r#"
name = "test"

[[stage]]
file = "checkpoints/{doc}/{index}_{stage}.json"
"#;

/// Threads that leave checkpoints: the waiter's stage and the holder's, in the report and in its words.
fn stages_that_waited() -> Result<()> {
    let mut pair = Pair::new("wal")?;
    let place = |file: &str| pair.folder.path().join("checkpoints").join(file);
    let files =
        ["one/7_layout.json", "one/8_tables.json", "two/1_ingest.json", "two/2_pages.json"].map(place);
    let probe = Probe::attach_with(pair.hands.pid(), STAGES, &[])?;
    pair.hands.write("a", &files[0])?;
    pair.hands.write("b", &files[2])?;
    pair.hands.sql("a", "a", "BEGIN IMMEDIATE")?;
    pair.hands.sql("a", "a", "UPDATE t SET x = 1")?;
    pair.hands.tell_sql("b", "b", "INSERT INTO t VALUES (5)")?;
    until_asleep(pair.waiter)?;
    pair.hands.tell_sql("a", "a", "COMMIT")?;
    for _ in 0..2 {
        ensure!(pair.hands.done()?.error.is_none());
    }
    pair.hands.write("a", &files[1])?;
    pair.hands.write("b", &files[3])?;
    let outcome = probe.finish()?;
    let got = database(&outcome.report, &pair.path)?;
    ensure!(got.lock_waits == 1 && got.by_whom.len() == 1, "{got:?}");
    let is_stage = |whose: &Whose, index: u32, name: &str| {
        (whose.kind.as_str(), whose.index, whose.name.as_str()) == ("stage", Some(index), name)
            && whose.joined_by == "checkpoint"
    };
    let waited = of(&got.by_whom, Some("pages"))?;
    ensure!(waited.whose.as_ref().is_some_and(|whose| is_stage(whose, 2, "pages")), "{:?}", got.by_whom);
    ensure!((waited.wait_s / got.wait_s.total() - 1.0).abs() < 0.001, "{got:?}");
    let behind = got.behind.first().context("behind nobody")?;
    ensure!(behind.whose.as_ref().is_some_and(|whose| is_stage(whose, 8, "tables")), "{behind:?}");
    ensure!(behind.statement.as_deref() == Some("UPDATE t SET x = ?"), "{behind:?}");
    ensure!(behind.tid == pair.holder, "{behind:?}");
    let words = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(words.contains("of it behind UPDATE t SET x = ? by stage 8 tables"), "{}", outcome.stdout);
    // Of a stage that one thread did, the part in which that waited.
    let stages: Vec<serde_json::Value> = outcome.report.at("/stages")?;
    let pages = stages.iter().find(|stage| stage["stage"] == "pages").context("no such stage")?;
    let share = pages["shares"]["sqlite_wait"].as_f64().context("no share")?;
    let time = pages["time_s"]["max"].as_f64().context("no time")?;
    ensure!((share * time / waited.wait_s - 1.0).abs() < 0.01, "{share} of {time} s, {waited:?}");
    ensure!(share > 0.0 && share < 1.0, "{pages}");
    Ok(())
}

const SHARES: &str = r#"
name = "test"

# Of 800 ms, half a second is waited for a lock.
[[objective]]
id = "locks"
stage = "tables"
metric = "sqlite_share"
target = "40%"
limit = "40%"

[[objective]]
id = "files"
stage = "tables"
metric = "file_share"
target = "10%"
limit = "10%"
"#;

/// A stage waits for a lock that is held: the part of its time is the one by its own clock, and is judged.
fn share_of_a_stage() -> Result<()> {
    /// 2 % or 5 ms.
    const TOLERANCE: Tolerance = Tolerance { relative: 0.02, absolute: 0.005 };
    let mut pair = Pair::new("wal")?;
    let probe = Probe::attach_with(pair.hands.pid(), SHARES, &[])?;
    pair.hands.sql("a", "a", "BEGIN IMMEDIATE")?;
    let more =
        json!({"stage": "tables", "doc": "one", "connection": "b", "sql": "BEGIN IMMEDIATE", "ms": 300});
    pair.hands.tell("b", "stage", &more)?;
    until_asleep(pair.waiter)?;
    // sleep: for as long the lock is held
    thread::sleep(Duration::from_millis(500));
    pair.hands.tell_sql("a", "a", "COMMIT")?;
    let mut own = None;
    for _ in 0..2 {
        let done = pair.hands.done()?;
        ensure!(done.error.is_none(), "{done:?}");
        own = own.or(done.row);
    }
    let own = own.context("no times")?.into_iter().map(|ns| ns as f64 / 1e9).collect::<Vec<_>>();
    let [waited, whole] = own.as_slice() else { bail!("{own:?}") };
    let outcome = judged(probe)?;
    let stages: Vec<serde_json::Value> = outcome.report.at("/stages")?;
    let [stage] = stages.as_slice() else { bail!("{stages:?}") };
    let number = |name: &str| stage.pointer(name).and_then(serde_json::Value::as_f64).context("no number");
    let time = number("/time_s/max")?;
    let share = number("/shares/sqlite_wait")?;
    TOLERANCE.agree("the stage", *whole, time)?;
    TOLERANCE.agree("its wait", *waited, share * time)?;
    TOLERANCE.agree("the rest", whole - waited, number("/shares/other")? * time)?;
    ensure!(number("/shares/file_io")? < 0.1 && stage["shares"]["gpu_busy"].is_null(), "{stage}");
    let verdicts: Vec<Objective> = outcome.report.at("/objectives")?;
    let told: Vec<_> = verdicts.iter().map(|told| (told.id.as_str(), told.verdict.as_str())).collect();
    ensure!(told == [("locks", "fail"), ("files", "pass")], "{verdicts:?}");
    ensure!(outcome.status.code() == Some(3), "{}", outcome.status);
    Ok(())
}

/// An objective on a database decides the exit code.
fn objectives_on_waits() -> Result<()> {
    for (limit, code) in [("1ms", 3), ("60s", 0)] {
        let mut pair = Pair::new("wal")?;
        let profile = format!(
            "name = \"test\"\n[[objective]]\nid = \"wait\"\ndatabase = \"*/app.db\"\nmetric = \"wait.max\"\n\
             target = \"{limit}\"\nlimit = \"{limit}\"\n"
        );
        let probe = Probe::attach_with(pair.hands.pid(), &profile, &[])?;
        pair.hands.sql("a", "a", "BEGIN IMMEDIATE")?;
        pair.hands.tell_sql("b", "b", "BEGIN IMMEDIATE")?;
        until_asleep(pair.waiter)?;
        pair.hands.tell_sql("a", "a", "COMMIT")?;
        for _ in 0..2 {
            ensure!(pair.hands.done()?.error.is_none());
        }
        let outcome = judged(probe)?;
        ensure!(outcome.status.code() == Some(code), "{limit}: {}, {}", outcome.status, outcome.stdout);
        ensure!(database(&outcome.report, &pair.path)?.lock_waits == 1);
    }
    Ok(())
}
