//! Unix-domain listeners: no packets to compare with, so the oracle is the client's own log.

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Entry, Request},
    probe::Probe,
    server::Server,
    servers,
    stats::{self, CLIENT, percentile},
    wait,
};

use crate::{
    Suite, add,
    watch::{agrees, finish, until_blocked},
};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, uvicorn_uds, gunicorn_uds, queue_wait, nginx_to_uds);
}

fn uvicorn_uds() -> Result<()> {
    serves(false)
}

fn gunicorn_uds() -> Result<()> {
    serves(true)
}

/// Every shape on a connection from before the attach and on new ones: exact counts and bytes, the client's times, an
/// abort, a request in flight, and a listener by its path.
fn serves(by_gunicorn: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, path) = servers::on_unix_socket(by_gunicorn, folder.path())?;
    let mut older = Conn::open_unix(&path)?;
    older.exchange(&Request::get("/hello"))?;
    let probe = Probe::attach(server.pid(), &[])?;
    let shapes = [
        Request::get("/hello"),
        Request::get("/sleep?ms=20"),
        Request::get("/stream?chunks=9&size=5000"),
        Request::post("/echo", &b"x".repeat(200_000)),
        Request::get_as("GET /bytes/{id}", "/bytes/3000000"),
        Request::new("HEAD /hello", "HEAD", "/hello", "", &[]),
    ];
    let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); shapes.len()];
    let mut fresh = Conn::open_unix(&path)?;
    for conn in [&mut older, &mut fresh] {
        for _ in 0..40 {
            for (shape, entries) in shapes.iter().zip(&mut entries) {
                entries.push(conn.exchange(shape)?);
            }
        }
    }
    let mut leaver = Conn::open_unix(&path)?;
    leaver.send(&Request::get("/status/200?x=1").bytes)?;
    leaver.reply(false)?;
    leaver.send(&Request::get("/sleep?ms=100").bytes)?;
    server.settle()?;
    drop(leaver);
    fresh.exchange(&Request::get("/sleep?ms=200"))?;
    let mut open = Conn::open_unix(&path)?;
    open.send(&Request::get("/sleep?ms=30000").bytes)?;
    let report = finish(probe, &server)?.report;
    report.nothing_lost()?;
    for (shape, entries) in shapes.iter().zip(&entries) {
        let found = report.endpoint(&shape.endpoint)?;
        if shape.endpoint == "GET /sleep" {
            ensure!((found.requests, found.aborted, found.in_flight) == (81, 1, 1), "{found:?}");
            continue;
        }
        let sent: u64 = entries.iter().map(|entry| entry.sent).sum();
        let received: u64 = entries.iter().map(|entry| entry.received).sum();
        ensure!((found.requests, found.aborted, found.untimed) == (80, 0, 0), "{found:?}");
        ensure!((found.bytes_in, found.bytes_out) == (sent, received), "{found:?}");
        let client = stats::sorted(entries.iter().map(Entry::latency_s));
        agrees(
            &format!("unix, {} p50", shape.endpoint),
            CLIENT,
            percentile(&client, 0.5),
            found.latency_s.p50,
        )?;
    }
    let listener = report.unix_listener(&path)?;
    ensure!(listener.accepted == 3, "{listener:?}");
    Ok(())
}

/// While the loop is blocked, a request on a kept connection and one on a connection that nobody has accepted wait:
/// that wait is theirs, as the client saw it.
fn queue_wait() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (server, path) = servers::on_unix_socket(false, folder.path())?;
    let probe = Probe::attach(server.pid(), &[])?;
    let mut blocker = Conn::open_unix(&path)?;
    let mut kept = Conn::open_unix(&path)?;
    kept.exchange(&Request::get("/hello"))?;
    blocker.send(&Request::get("/block?ms=300").bytes)?;
    until_blocked(&server)?;
    let began = std::time::Instant::now();
    kept.send(&Request::get_as("GET /items/{id}", "/items/1").bytes)?;
    let mut late = Conn::open_unix(&path)?;
    late.send(&Request::get("/status/200").bytes)?;
    kept.reply(false)?;
    let waited = began.elapsed().as_secs_f64();
    late.reply(false)?;
    let whole = began.elapsed().as_secs_f64();
    blocker.reply(false)?;
    let report = finish(probe, &server)?.report;
    let kept = report.endpoint("GET /items/{id}")?;
    agrees("unix, kept connection, latency", CLIENT, waited, kept.latency_s.max)?;
    let queued = kept.breakdown.receive_queue_s.max.context("no receive queue")?;
    ensure!(queued > 0.2, "{kept:?}");
    let late = report.endpoint("GET /status/{id}")?;
    agrees("unix, before accept, latency", CLIENT, whole, late.latency_s.max)?;
    ensure!(late.breakdown.accept_queue_s.largest()? > 0.2, "{late:?}");
    Ok(())
}

/// nginx in front, over a Unix-domain socket, seen from either side.
fn nginx_to_uds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (app, path) = servers::on_unix_socket(true, folder.path())?;
    let front = servers::nginx(&format!("unix:{}", path.display()), folder.path())?;
    let of_app = Probe::attach(app.pid(), &[])?;
    let of_front = Probe::attach(front.pid(), &[])?;
    let load = probe_tests::load::Load::fast(front.addr(), 4, 200, crate::watch::mix());
    let sums = load.run()?.sums();
    at_rest(&app, &front)?;
    let (app_report, front_report) = (of_app.finish()?.report, of_front.finish()?.report);
    front_report.matches_exactly(&sums)?;
    app_report.nothing_lost()?;
    for (name, sum) in &sums {
        let (method, endpoint) = name.split_once(' ').context("no method")?;
        let asked = front_report.outgoing(&format!("{method} unix:{} {endpoint}", path.display()))?;
        let served = app_report.endpoint(name)?;
        ensure!((asked.requests, served.requests) == (sum.requests, sum.requests), "{asked:?} {served:?}");
        ensure!(
            (asked.bytes_out, asked.bytes_in) == (served.bytes_in, served.bytes_out),
            "{asked:?} {served:?}"
        );
        ensure!(served.untimed == 0, "{served:?}");
    }
    Ok(())
}

fn at_rest(app: &Server, front: &Server) -> Result<()> {
    wait::until("both servers' rest", wait::SOON, || {
        app.settle()?;
        Ok(front.settle().is_ok().then_some(()))
    })
}
