//! The oracles are tested before they judge.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    capture::Capture,
    client::{Conn, Request},
    host,
    load::Load,
    server::{Uvicorn, V4, V6},
};

use crate::{Suite, add, watch};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, capture_holds_every_exchange, load_log_is_exact, blocked_loop_is_seen);
}

/// The capture holds every exchange of a load on both address families; each of its times is positive and
/// its largest no longer than the client's largest.
fn capture_holds_every_exchange() -> Result<()> {
    for host in [V4, V6] {
        let server = Uvicorn { host, ..Uvicorn::new("uvloop", "httptools") }.start()?;
        let load = Load::fast(server.addr(), 8, 400, watch::mix()).fresh();
        let capture = Capture::start(server.addr().port())?;
        let log = load.run()?;
        let wire = capture.finish()?;
        ensure!((wire.exchanges.len(), wire.connections) == (400, 400), "{} captured", wire.exchanges.len());
        for (endpoint, on_wire) in [("GET /hello", "GET /hello"), ("GET /items/{id}", "GET /items/")] {
            let (wire, client) = (wire.latencies(on_wire), log.latencies(endpoint));
            ensure!(wire.len() == client.len() && client.len() == 200);
            ensure!(wire[0] > 0.0 && wire[199] <= client[199], "{:?} against {:?}", wire[199], client[199]);
        }
    }
    Ok(())
}

/// The load's log sums up to what a scripted client gets from the same server, request by request.
fn load_log_is_exact() -> Result<()> {
    let server = Uvicorn::new("asyncio", "h11").start()?;
    let mut conn = Conn::open(server.addr())?;
    let mix = watch::mix();
    let mut received = 0;
    for request in &mix {
        received += conn.exchange(request)?.received;
    }
    for load in [
        Load::fast(server.addr(), 3, 120, mix.clone()),
        Load::fast(server.addr(), 3, 120, mix.clone()).fresh(),
        Load::fast(server.addr(), 3, 120, mix.clone()).thinking(Duration::from_millis(1)),
    ] {
        let log = load.run()?;
        ensure!(log.connections == if load.keep_alive { 3 } else { 120 });
        let sums = log.sums();
        ensure!(sums.values().map(|sum| sum.received).sum::<u64>() == received * 30, "{sums:?}");
        ensure!(sums.values().all(|sum| sum.requests == 60 && sum.statuses["2xx"] == 60), "{sums:?}");
    }
    Ok(())
}

/// The harness sees when the loop's thread sits in a blocking sleep, and when it is back.
fn blocked_loop_is_seen() -> Result<()> {
    let server = Uvicorn::new("asyncio", "h11").start()?;
    let mut conn = Conn::open(server.addr())?;
    conn.send(&Request::get("/block?ms=200").bytes)?;
    watch::until_blocked(&server)?;
    conn.reply(false)?;
    server.settle()?;
    ensure!(host::sleeping_in(server.pid()) != Some(watch::CLOCK_NANOSLEEP));
    Ok(())
}

/// Entries of the list that the README shows name trials that there are, and every trial of requests, TLS and WebSockets
/// is named by one.
pub(crate) fn check_list(suite: &mut Suite) {
    let names = suite.names.clone();
    suite.add("harness::list_of_what_is_seen", move || {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/seen.json"))?;
        let list: BTreeMap<String, Vec<serde_json::Value>> =
            serde_json::from_str(&text).context("failed to parse the list")?;
        let entries = list.values().flatten();
        let listed: Vec<&str> = entries
            .filter_map(|entry| entry["trials"].as_array())
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect();
        for listed in &listed {
            ensure!(names.iter().any(|name| name.starts_with(listed)), "no trial begins with `{listed}`");
        }
        for name in &names {
            let must = ["http::", "tls::", "websocket::"].iter().any(|file| name.starts_with(file));
            let is_listed = listed.iter().any(|listed| name.starts_with(listed));
            ensure!(!must || is_listed, "`{name}` is in no entry of tests/seen.json");
        }
        Ok(())
    });
}
