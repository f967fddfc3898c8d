//! What the agent pays when the same load comes over many WebSockets, or goes to many endpoints.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use probe_tests::{
    client::Request,
    load::Load,
    probe::Probe,
    report::Report,
    server::Uvicorn,
    websocket::{Socket, first},
};

use crate::{
    figure::Figure,
    requests::{at_rate, memory},
    window::cpu_ns,
};

const SOCKETS: [usize; 3] = [1, 100, 500];
const ENDPOINTS: [usize; 3] = [1, 100, 1000];
/// Messages or requests per second, however many they are spread over.
const PER_S: u32 = 1000;
const MESSAGES: u32 = 4 * PER_S;

/// Messages that are sent back.
pub(crate) fn sockets(rounds: usize) -> Result<Vec<Figure>> {
    let server = Uvicorn {
        more: vec!["--ws-ping-interval".to_owned(), "1000".to_owned()],
        ..Uvicorn::new("uvloop", "httptools")
    }
    .start()?;
    let mut figures = Vec::new();
    for n in SOCKETS {
        let (mut agent, mut reports) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let probe = Probe::attach(server.pid(), &[])?;
            let mut sockets =
                (0..n).map(|_| Socket::open(server.addr(), "/ws", "")).collect::<Result<Vec<_>>>()?;
            let (began, used) = (Instant::now(), cpu_ns(probe.pid())?);
            for message in 0..MESSAGES {
                let due = began + Duration::from_secs(1) * message / PER_S;
                // sleep: the rate is what is asked for.
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let socket = &mut sockets[message as usize % n];
                socket.message(first::TEXT, b"0123456789")?;
                socket.receive()?;
            }
            agent.push(percent_since(began, used, &probe)?);
            reports.push(probe.finish()?.report);
            for socket in sockets {
                socket.close()?;
            }
        }
        figures.extend(paid("sockets", &format!("{n} WebSockets"), &agent, &reports));
    }
    Ok(figures)
}

/// Requests of as many paths, none of which is like another one.
pub(crate) fn endpoints(rounds: usize) -> Result<Vec<Figure>> {
    let server = Uvicorn::new("uvloop", "httptools").start()?;
    let mut figures = Vec::new();
    for n in ENDPOINTS {
        let paths = (0..n).map(|index| Request::get(&format!("/{}", word(index)))).collect();
        let load = at_rate(&Load::fast(server.addr(), 8, 1, paths), 8, f64::from(PER_S))?;
        let (mut agent, mut reports) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let probe = Probe::attach(server.pid(), &[])?;
            // New endpoints and caches.
            load.run()?;
            let (began, used) = (Instant::now(), cpu_ns(probe.pid())?);
            load.run()?;
            agent.push(percent_since(began, used, &probe)?);
            reports.push(probe.finish()?.report);
        }
        figures.extend(paid("endpoints", &format!("{n} endpoints"), &agent, &reports));
    }
    Ok(figures)
}

/// Letters alone: a number would be taken for a parameter.
fn word(mut index: usize) -> String {
    let mut word = "page".to_owned();
    for _ in 0..3 {
        word.push(char::from(b'a' + u8::try_from(index % 26).unwrap_or_default()));
        index /= 26;
    }
    word
}

/// What the agent used since then, percent of a core.
fn percent_since(began: Instant, used: f64, probe: &Probe) -> Result<f64> {
    Ok((cpu_ns(probe.pid())? - used) / 1e9 / began.elapsed().as_secs_f64() * 100.0)
}

fn paid(part: &str, load: &str, agent: &[f64], reports: &[Report]) -> Vec<Figure> {
    let lasted = |report: &Report| report.at::<f64>("/run/duration_s").ok().filter(|lasted| *lasted > 0.0);
    let events: Vec<f64> = reports
        .iter()
        .filter_map(|report| Some(report.at::<f64>("/health/events").ok()? / lasted(report)?))
        .collect();
    let figures = [
        Figure::of(format!("{load}: agent"), "% of a core", agent).within(2.0),
        memory(format!("{load}: memory"), reports),
        Figure::of(format!("{load}: events"), "per s", &events),
    ];
    figures.map(|figure| Figure { part: part.to_owned(), ..figure }).into()
}
