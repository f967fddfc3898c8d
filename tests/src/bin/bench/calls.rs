//! Nanoseconds per system call: bare, with empty programs on the same hooks, in a process that is not traced while another
//! is, and traced; by raw tracepoints and, as from Linux 7 on, by perf's.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
};

use anyhow::{Result, bail};
use probe_tests::probe::Probe;

use crate::{
    empty::Empty,
    figure::Figure,
    repeat::{Repeat, timed},
};

/// Calls between two readings of the clock.
pub(crate) const CALLS: u32 = 50_000;

/// What the child does; `getppid` no room wants.
const KINDS: [(&str, &str); 3] =
    [("getppid", "getppid"), ("file", "read of /dev/zero"), ("socket", "1 byte over TCP")];

/// The kinds of tracepoints, each with what is taken for refused so that the other is taken: raw ones, and perf's.
const TRACEPOINTS: [(&str, &str); 2] = [("", "perf_tracepoints"), (", perf's", "raw_tracepoints")];

/// The child's side.
pub(crate) fn make(kind: &str) -> Result<()> {
    let zero = File::open("/dev/zero")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut byte = [0u8];
    match kind {
        "getppid" => timed(CALLS, || {
            let _ = nix::unistd::getppid();
            Ok(())
        }),
        "file" => timed(CALLS, || Ok(nix::unistd::read(zero.as_fd(), &mut byte).map(drop)?)),
        // The listener's port makes `server` a server connection: its calls take the whole way. Each turn is one of four
        // calls.
        "socket" => {
            let mut turn = 0_u32;
            timed(CALLS, || {
                turn += 1;
                match turn % 4 {
                    1 => client.write_all(&byte)?,
                    2 => server.read_exact(&mut byte)?,
                    3 => server.write_all(&byte)?,
                    _ => client.read_exact(&mut byte)?,
                }
                Ok(())
            })
        }
        _ => bail!("unknown kind of call `{kind}`"),
    }
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (kind, call) in KINDS {
        let (mut bare, mut empty) = (Vec::new(), Vec::new());
        let mut other = TRACEPOINTS.map(|_| Vec::new());
        let mut traced = TRACEPOINTS.map(|_| Vec::new());
        for _ in 0..rounds {
            let mut measured = Repeat::start(&format!("calls/{kind}"))?;
            let idle = Repeat::start("calls/file")?;
            bare.push(measured.turn_ns()?);
            let programs = Empty::attach()?;
            empty.push(measured.turn_ns()?);
            drop(programs);
            for (at, (_, left_out)) in TRACEPOINTS.iter().enumerate() {
                let forced = ["--force-rung", left_out];
                let probe = Probe::attach(idle.pid(), &forced)?;
                other[at].push(measured.turn_ns()?);
                probe.finish()?;
                let probe = Probe::attach(measured.pid(), &forced)?;
                traced[at].push(measured.turn_ns()?);
                probe.finish()?;
            }
        }
        let figure = |what: &str, off: &[f64], on: &[f64]| Figure {
            part: "calls".to_owned(),
            ..Figure::pairs(format!("{call}: {what}"), "ns", off, on)
        };
        figures.push(figure("empty", &bare, &empty));
        for (at, (kind, _)) in TRACEPOINTS.iter().enumerate() {
            figures.push(figure(&format!("other{kind}"), &bare, &other[at]));
            figures.push(figure(&format!("traced{kind}"), &bare, &traced[at]));
        }
        figures.push(figure("to empty", &empty, &traced[0]).within(1.0));
    }
    Ok(figures)
}
