//! The accept queue, per listener.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    host,
    load::Load,
    probe::Probe,
    server::Uvicorn,
    stats::CLIENT,
    wait,
};

use crate::{
    Suite, add,
    watch::{agrees, finish, mix, until_blocked},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, every_connection_is_accepted_once, queue_holds_the_block, overflows_are_the_kernels);
}

/// The listener's line counts exactly the connections that the client made, with and without requests.
fn every_connection_is_accepted_once() -> Result<()> {
    for (event_loop, http) in [("asyncio", "h11"), ("uvloop", "httptools")] {
        let server = Uvicorn::new(event_loop, http).start()?;
        let probe = Probe::attach(server.pid(), &[])?;
        let log = Load::fast(server.addr(), 8, 300, mix()).fresh().run()?;
        let silent = (0..5).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>()?;
        let report = finish(probe, &server)?.report;
        drop(silent);
        report.matches_exactly(&log.sums())?;
        let listener = report.listener(server.addr().port())?;
        ensure!(listener.accepted == 305, "{} of 305 connections", listener.accepted);
        ensure!(listener.queue_wait_s.count == 305, "{} of 305 waits", listener.queue_wait_s.count);
        ensure!(listener.overflows == Some(0), "{:?} overflows", listener.overflows);
    }
    Ok(())
}

/// Connections made while the loop is blocked wait in the queue for as long as the client says.
fn queue_holds_the_block() -> Result<()> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut blocker = Conn::open(server.addr())?;
    blocker.send(&Request::get("/block?ms=400").bytes)?;
    until_blocked(&server)?;
    let begun = std::time::Instant::now();
    let mut conns = (0..10).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>()?;
    blocker.reply(false)?;
    let waited = begun.elapsed().as_secs_f64();
    for conn in &mut conns {
        conn.exchange(&Request::get("/hello"))?;
    }
    let report = finish(probe, &server)?.report;
    let listener = report.listener(server.addr().port())?;
    ensure!(listener.accepted == 11, "{} of 11 connections", listener.accepted);
    ensure!(listener.backlog_max == 10, "{} waited at once, of 10", listener.backlog_max);
    agrees("longest wait in the accept queue", CLIENT, waited, listener.queue_wait_s.max)?;
    agrees("most waited as long", CLIENT, waited, listener.queue_wait_s.p50)
}

/// A full queue: the report's overflows are those that `ss` shows of this listener, and its queue was no shorter than `ss`
/// shows it and no longer than the kernel lets it be. (The namespace's ListenDrops is smaller: it counts a handshake's last
/// ACK once, the socket twice.)
fn overflows_are_the_kernels() -> Result<()> {
    const BACKLOG: u32 = 8;
    let server = Uvicorn { backlog: BACKLOG, ..Uvicorn::new("asyncio", "h11") }.start()?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut blocker = Conn::open(server.addr())?;
    blocker.exchange(&Request::get("/hello"))?;
    let listener = || host::listener(server.addr().port());
    let before = listener()?.drops;
    blocker.send(&Request::get("/block?ms=600").bytes)?;
    until_blocked(&server)?;
    let addr = server.addr();
    let clients: Vec<_> = (0..30)
        .map(|_| std::thread::spawn(move || Conn::open(addr)?.exchange(&Request::get("/hello")).map(drop)))
        .collect();
    // Of one look: it is full then.
    let queued = wait::until("an overflow", Duration::from_secs(5), || {
        let now = listener()?;
        Ok((now.drops > before).then_some(now.queued))
    })?;
    for client in clients {
        client.join().ok().context("a client panicked")??;
    }
    blocker.reply(false)?;
    let report = finish(probe, &server)?.report;
    let overflows = listener()?.drops - before;
    let listener = report.listener(server.addr().port())?;
    ensure!(overflows >= 20, "only {overflows} overflows: the queue was not full");
    ensure!(listener.overflows == Some(overflows), "{:?} of {overflows} overflows", listener.overflows);
    ensure!(listener.accepted == 31, "{} of 31 connections", listener.accepted);
    ensure!(queued > u64::from(BACKLOG), "the queue was not full: {queued} waited");
    // A handshake is let in while there are no more than BACKLOG: as many at once as there are cores. One more can come in
    // the place of the one that is accepted, which counts.
    let cores = aya::util::online_cpus().map_err(|(_, error)| error)?.len() as u64;
    let possible = queued..=u64::from(BACKLOG) + cores + 1;
    ensure!(
        possible.contains(&listener.backlog_max),
        "{} waited at once, of {possible:?}",
        listener.backlog_max
    );
    ensure!(report.endpoint("GET /hello")?.requests == 31);
    Ok(())
}
