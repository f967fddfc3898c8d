//! A run that watches its own cost: what it gives up, in which order, and that what is left is as true as before.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    load::Load,
    locks::{Database, Hands},
    probe::{self, Outcome, Probe},
    report::Report,
    server::Uvicorn,
    wait,
    websocket::{Socket, first},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Suite, add,
    watch::{exact, finish, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, whole_connections, whole_websockets, statements_go_first, enough_of_it);
}

/// Less than any run costs: looking at the ring alone is more.
const NEVER_ENOUGH: [&str; 3] = ["--budget", "0.001%", "--record"];
/// Connections that are older than the last step, each with an endpoint of its own.
const KEPT: usize = 100;
/// Connections that are younger. Of so many 16 are in a sample of 1 in 16, give or take 4.
const FRESH: usize = 256;
/// Requests on each.
const EACH: u64 = 3;

const PROFILE: &str = "name = 'test'\n\
    [[objective]]\nid = 'rate'\nmetric = 'rate'\ntarget = '1/s'\nlimit = '1/s'\n\
    [[objective]]\nid = 'median'\nmetric = 'latency.p50'\ntarget = '60s'\nlimit = '60s'\n\
    [[objective]]\nid = 'statement'\ndatabase = '*'\nmetric = 'statement.p50'\ntarget = '1s'\nlimit = '1s'\n";

#[derive(Debug, Deserialize)]
struct Budget {
    limit: f64,
    kept: Option<bool>,
    cost: Option<f64>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    at_s: f64,
    what: String,
    cost_before: f64,
}

/// Waits until there is nothing left to be given up.
fn until_exhausted(probe: &Probe) -> Result<()> {
    wait::until("the last step", wait::SOON, || {
        Ok(probe.stderr()?.contains("nothing is left to be given up").then_some(()))
    })
}

/// The budget of a run that gave up all there was, said everywhere.
fn exhausted(outcome: &Outcome) -> Result<Budget> {
    let budget: Budget = outcome.report.at("/health/budget")?;
    ensure!((budget.limit, budget.kept) == (0.000_01, Some(false)), "{budget:?}");
    ensure!(budget.cost.is_some_and(|cost| cost > budget.limit), "{budget:?}");
    let spots: Vec<String> = outcome.report.blind_spots()?;
    for step in &budget.steps {
        ensure!(step.cost_before > budget.limit, "{budget:?}");
        ensure!(
            outcome.stderr.contains(&step.what),
            "no word of `{}` in the log:\n{}",
            step.what,
            outcome.stderr
        );
        let at = format!("from {:.1} s on", step.at_s);
        ensure!(spots.iter().any(|spot| spot.contains(&at)), "no blind spot {at}: {spots:?}");
    }
    ensure!(budget.steps.is_sorted_by(|a, b| a.at_s < b.at_s), "{budget:?}");
    ensure!(outcome.stdout.contains("not kept"), "{}", outcome.stdout);
    Ok(budget)
}

fn steps(budget: &Budget) -> Vec<&str> {
    budget.steps.iter().map(|step| step.what.as_str()).collect()
}

/// The verdict and the reason of an objective.
fn judged(report: &Report, id: &str) -> Result<(String, String)> {
    let all: Vec<Value> = report.at("/objectives")?;
    let found = all.iter().find(|found| found["id"] == id).with_context(|| format!("no objective `{id}`"))?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Ok((text("verdict"), text("reason")))
}

/// Endpoints with a name of letters: digits would be taken for parameters.
fn own_endpoint(number: usize) -> String {
    let letter = |n: usize| char::from(b"abcdefghijklmnop"[n % 16]);
    format!("/of-{}{}", letter(number / 16), letter(number))
}

/// Past the last step the report is that of whole connections: all of one or nothing, also of what was under way at the
/// steps. The kernel's own counts are those of all.
fn whole_connections() -> Result<()> {
    let server = Uvicorn::new("asyncio", "h11").start()?;
    let mut conns = (0..KEPT).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>()?;
    server.settle()?;
    let probe = Probe::attach_with(server.pid(), PROFILE, &NEVER_ENOUGH)?;
    // Under way while the run steps down: requests without their last byte.
    let upload = Request::post("/echo", b"four");
    let (begun, rest) = upload.bytes.split_at(upload.bytes.len() - 1);
    let (mut sent, mut received) = (0, 0);
    for conn in &mut conns {
        conn.send(begun)?;
    }
    until_exhausted(&probe)?;
    for (number, conn) in conns.iter_mut().enumerate() {
        conn.send(rest)?;
        sent += upload.bytes.len() as u64;
        received += conn.reply(false)?.bytes;
        for _ in 0..EACH {
            let entry = conn.exchange(&Request::get(&own_endpoint(number)))?;
            sent += entry.sent;
            received += entry.received;
        }
    }
    let item = Request::get_as("GET /items/{id}", "/items/7");
    for _ in 0..FRESH {
        let mut conn = Conn::open(server.addr())?;
        for _ in 0..EACH {
            let entry = conn.exchange(&item)?;
            sent += entry.sent;
            received += entry.received;
        }
    }
    server.settle()?;
    // Their ends come while the run goes on: an end of what is not followed is none that is told.
    drop(conns);
    let outcome = finish(probe, &server)?;
    let report = &outcome.report;
    report.nothing_lost()?;

    // What is not followed is not even sent up: each request would have been three records.
    let (events, requests) =
        (report.at::<u64>("/health/events")?, KEPT as u64 * (EACH + 1) + FRESH as u64 * EACH);
    ensure!(events < requests, "{events} records for {requests} requests");

    let budget = exhausted(&outcome)?;
    let samples = [2, 4, 8, 16].map(|one_in| format!("1 in {one_in} connections followed"));
    ensure!(steps(&budget).ends_with(&samples.each_ref().map(String::as_str)), "{budget:?}");

    let endpoints = report.endpoints()?;
    let kept: BTreeSet<String> = (0..KEPT).map(|number| format!("GET {}", own_endpoint(number))).collect();
    let followed = endpoints.iter().filter(|found| kept.contains(&found.endpoint)).count() as u64;
    ensure!(followed < KEPT as u64 / 2, "{followed} of {KEPT} connections are followed");
    for found in &endpoints {
        let expected = match found.endpoint.as_str() {
            "POST /echo" => followed,
            "GET /items/{id}" => found.requests / EACH * EACH,
            _ => EACH,
        };
        ensure!(
            (found.requests, found.aborted, found.in_flight) == (expected, 0, 0),
            "{followed}: {found:?}"
        );
    }
    let fresh = report.endpoint("GET /items/{id}")?.requests / EACH;
    ensure!((1..=FRESH as u64 / 4).contains(&fresh), "{fresh} of {FRESH} fresh connections are followed");

    let calls = (report.server_calls("accept")?, report.server_calls("recv")?, report.server_calls("send")?);
    let accepted = calls.0.calls - calls.0.would_block - calls.0.errors;
    let counted = (accepted, calls.1.bytes, calls.2.bytes);
    ensure!(counted == (FRESH as u64, sent, received), "{FRESH} {sent} {received}: {calls:?}");

    let reason = "1 in 16 connections was followed from";
    let (verdict, why) = judged(report, "rate")?;
    ensure!(verdict == "inconclusive" && why.starts_with(reason), "{verdict}: {why}");
    let (verdict, why) = judged(report, "median")?;
    ensure!(verdict == "pass" && why.starts_with(reason), "{verdict}: {why}");
    replays(&outcome)
}

/// A WebSocket is followed to its end or not at all, past the last step.
fn whole_websockets() -> Result<()> {
    // No pings: they would be frames between those of the test.
    let more = ["--ws-ping-interval", "1000"].map(str::to_owned).to_vec();
    let server = Uvicorn { more, ..Uvicorn::new("asyncio", "h11") }.start()?;
    let probe = Probe::attach(server.pid(), &NEVER_ENOUGH)?;
    let mut sockets =
        (0..KEPT).map(|_| Socket::open(server.addr(), "/ws", "")).collect::<Result<Vec<_>>>()?;
    until_exhausted(&probe)?;
    for socket in &mut sockets {
        for _ in 0..EACH {
            socket.message(first::TEXT, b"hello")?;
        }
    }
    for socket in sockets {
        socket.close()?;
    }
    let outcome = finish(probe, &server)?;
    exhausted(&outcome)?;
    outcome.report.nothing_lost()?;
    let seen = outcome.report.websocket("/ws")?;
    let followed = seen.messages_in / EACH;
    ensure!(seen.messages_in == followed * EACH && followed < KEPT as u64 / 2, "{seen:?}");
    ensure!((seen.bytes_in, seen.reconnects) == (5 * seen.messages_in, 0), "{seen:?}");
    let spots = outcome.report.blind_spots()?;
    ensure!(!spots.iter().any(|spot| spot.starts_with("WebSocket messages")), "{spots:?}");
    replays(&outcome)
}

/// The recording makes the same report.
fn replays(outcome: &Outcome) -> Result<()> {
    let live = fs::read(outcome.run_dir().join("report.json")).context("failed to read `report.json`")?;
    let replay = Command::new(probe::binary()?)
        .arg("report")
        .arg(outcome.run_dir())
        .args(["--format", "json", "--inconclusive", "pass"])
        .output()
        .context("failed to run probe")?;
    ensure!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let same = live.trim_ascii_end() == replay.stdout.trim_ascii_end();
    ensure!(same, "live and replayed report differ:\n{}", String::from_utf8_lossy(&replay.stdout));
    Ok(())
}

/// The probes on SQLite's functions are gone after the first step: no statement is seen, and every transaction is.
fn statements_go_first() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.db");
    let mut hands = Hands::start()?;
    hands.open("a", "a", &path, 20.0)?;
    hands.sql("a", "a", "CREATE TABLE t (x)")?;
    let probe = Probe::attach_with(hands.pid(), PROFILE, &NEVER_ENOUGH)?;
    until_exhausted(&probe)?;
    for number in 0..25 {
        hands.sql("a", "a", &format!("INSERT INTO t VALUES ({number})"))?;
    }
    let outcome = probe.finish()?;
    let budget = exhausted(&outcome)?;
    ensure!(steps(&budget).first() == Some(&"SQLite statements off"), "{budget:?}");
    let databases: Vec<Database> = outcome.report.at("/sqlite")?;
    ensure!(databases.len() == 1, "{databases:?}");
    let found = &databases[0];
    ensure!(found.transactions == 25 && found.statements.is_empty(), "{found:?}");
    let (verdict, why) = judged(&outcome.report, "statement")?;
    ensure!(verdict == "inconclusive" && why.contains("to keep the budget"), "{verdict}: {why}");
    // That a process has no symbols is none of it.
    let spots = outcome.report.blind_spots()?;
    ensure!(!spots.iter().any(|spot| spot.starts_with("SQLite statements of")), "{spots:?}");
    replays(&outcome)
}

/// A budget that is never spent changes nothing, and is shown.
fn enough_of_it() -> Result<()> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let probe = Probe::attach_with(server.pid(), PROFILE, &["--budget", "100%"])?;
    let log = Load::fast(server.addr(), 4, 200, mix()).fresh().run()?;
    let outcome = finish(probe, &server)?;
    outcome.report.matches_exactly(&log.sums())?;
    let budget: Budget = outcome.report.at("/health/budget")?;
    ensure!(budget.limit > 0.999 && budget.steps.is_empty(), "{budget:?}");
    // A run may end before its first look.
    ensure!(budget.kept != Some(false) && budget.kept.is_some() == budget.cost.is_some(), "{budget:?}");
    let (_, why) = judged(&outcome.report, "rate")?;
    ensure!(!why.contains("connections"), "{why}");
    let (without, _) = exact(&server, &Load::fast(server.addr(), 2, 20, mix()))?;
    ensure!(without.report.at::<Value>("/health/budget")?.is_null(), "a budget that nobody gave");
    Ok(())
}
