//! Counts and times on every flavour of uvicorn, as fast as it can serve and slowly.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use probe_tests::{
    load::Load,
    say::say,
    server::{Uvicorn, V4, V6},
};

use crate::{
    Suite, add, add_timed,
    watch::{agrees_with_wire, captured, exact, mix},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, every_request_is_counted);
    add_timed!(suite, highest_rate);
    if suite.ladder {
        return;
    }
    for event_loop in ["asyncio", "uvloop"] {
        for http in ["h11", "httptools"] {
            for host in [V4, V6] {
                let family = if host == V4 { "ipv4" } else { "ipv6" };
                suite.add(&format!("http::exact::{event_loop}_{http}_{family}"), move || {
                    matrix(event_loop, http, host)
                });
            }
        }
    }
}

/// Requests, statuses and bytes of each endpoint are exactly the client's, on kept connections and fresh ones, with
/// the two kinds of event loop and parser, on IPv4 and IPv6.
fn every_request_is_counted() -> Result<()> {
    for (event_loop, http, host) in [("asyncio", "h11", V6), ("uvloop", "httptools", V4)] {
        let server = Uvicorn { host, ..Uvicorn::new(event_loop, http) }.start()?;
        let load = Load::fast(server.addr(), 8, 400, mix());
        exact(&server, &load)?;
        exact(&server, &load.fresh())?;
    }
    Ok(())
}

/// With nothing else on the machine's cores but server, client and probe, on one worker and on two: exact
/// counts at the highest rate that uvicorn reaches.
fn highest_rate() -> Result<()> {
    for workers in [1, 2] {
        let server = Uvicorn { workers, ..Uvicorn::new("uvloop", "httptools") }.start()?;
        let (_, log) = exact(&server, &Load::fast(server.addr(), 32, 20_000, mix()))?;
        say(&format!("    uvloop httptools, {workers} workers: {:.0} requests/s", log.rate()));
    }
    Ok(())
}

/// Requests, statuses and bytes of each endpoint are exactly the client's, nothing is lost, and p50, p95 and
/// p99 agree with a packet capture: on kept connections and on a connection per request at the highest rate
/// that the server reaches, and at a low rate.
fn matrix(event_loop: &'static str, http: &'static str, host: IpAddr) -> Result<()> {
    let server = Uvicorn { host, ..Uvicorn::new(event_loop, http) }.start()?;
    let fast = Load::fast(server.addr(), 16, 6_000, mix());
    let broad = Load { connections: 64, ..fast.clone() };
    let fresh = Load { requests: 2_000, ..fast.clone() }.fresh();
    let slow = Load { connections: 4, requests: 480, ..fast.clone() }.thinking(Duration::from_millis(5));
    for (name, load) in [("16 kept", fast), ("64 kept", broad), ("16 fresh", fresh), ("4 slow", slow)] {
        // The second family has the same code above the network layer: one shape of each kind will do.
        if host == V6 && name == "64 kept" {
            continue;
        }
        let (outcome, client, wire) = captured(&server, &load)?;
        say(&format!("    {event_loop} {http} {host}, {name}: {:.0} requests/s", client.rate()));
        for names in [("GET /hello", "GET /hello"), ("GET /items/{id}", "GET /items/")] {
            agrees_with_wire(&format!("{event_loop} {http} {host}, {name}"), &outcome.report, &wire, names)?;
        }
    }
    Ok(())
}
