//! Nanoseconds per system call: bare, in a process that is not traced while another is, and traced.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use probe_tests::probe::Probe;
use serde::Serialize;

use crate::median;

/// Calls between two readings of the clock.
const CALLS: u32 = 200_000;

/// What the child does in its loop.
const KINDS: [(&str, &str); 3] = [
    ("getppid", "getppid (no room wants it)"),
    ("file", "read, 1 byte of /dev/zero"),
    ("socket", "write or read, 1 byte on loopback TCP"),
];

/// Medians over the rounds, nanoseconds per call.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    call: &'static str,
    bare_ns: f64,
    other_traced_ns: f64,
    traced_ns: f64,
}

/// The child's side: for every line on stdin one measurement on stdout.
pub(crate) fn make(kind: &str) -> Result<()> {
    let mut zero = File::open("/dev/zero")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut byte = [0u8];
    for line in std::io::stdin().lines() {
        line?;
        let began = Instant::now();
        match kind {
            "getppid" => {
                for _ in 0..CALLS {
                    let _ = nix::unistd::getppid();
                }
            }
            "file" => {
                for _ in 0..CALLS {
                    nix::unistd::read(zero.as_fd(), &mut byte)?;
                }
            }
            // The listener's port makes `server` a server connection: its calls take the whole way.
            "socket" => {
                for _ in 0..CALLS / 4 {
                    client.write_all(&byte)?;
                    server.read_exact(&mut byte)?;
                    server.write_all(&byte)?;
                    client.read_exact(&mut byte)?;
                }
            }
            _ => bail!("unknown loop `{kind}`"),
        }
        println!("{}", began.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    let _ = zero.read(&mut byte);
    Ok(())
}

struct Loop {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Loop {
    fn start(kind: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--loop", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the loop")?;
        let ask = child.stdin.take().context("the loop has no stdin")?;
        let answer = BufReader::new(child.stdout.take().context("the loop has no stdout")?);
        Ok(Self { child, ask, answer })
    }

    /// The shortest of three, against what else the machine does.
    fn ns_per_call(&mut self) -> Result<f64> {
        let mut shortest = f64::INFINITY;
        for _ in 0..3 {
            writeln!(self.ask)?;
            let mut line = String::new();
            self.answer.read_line(&mut line)?;
            shortest = shortest.min(line.trim().parse().context("the loop ended")?);
        }
        Ok(shortest)
    }

    fn end(self) -> Result<()> {
        let Self { mut child, ask, .. } = self;
        drop(ask);
        child.wait()?;
        Ok(())
    }
}

/// Measures every kind of call in turn: bare, beside a traced process, traced.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, call) in KINDS {
        let (mut bare, mut other, mut traced) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            eprintln!("{call}: round {round} of {rounds}");
            let mut measured = Loop::start(kind)?;
            let idle = Loop::start("file")?;
            bare.push(measured.ns_per_call()?);
            let probe = Probe::attach(idle.child.id(), &[])?;
            other.push(measured.ns_per_call()?);
            probe.finish()?;
            let probe = Probe::attach(measured.child.id(), &[])?;
            traced.push(measured.ns_per_call()?);
            probe.finish()?;
            measured.end()?;
            idle.end()?;
        }
        rows.push(Row {
            call,
            bare_ns: median(bare),
            other_traced_ns: median(other),
            traced_ns: median(traced),
        });
    }
    Ok(rows)
}

/// For people.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "ns per system call                       bare  another traced  traced\n".to_owned();
    for Row { call, bare_ns, other_traced_ns, traced_ns } in rows {
        let _ = writeln!(text, "{call:<38} {bare_ns:>6.0}  {other_traced_ns:>14.0}  {traced_ns:>6.0}");
    }
    text
}
