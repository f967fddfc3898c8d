//! Nanoseconds per SQLite statement: not traced, with locks alone, and with statements.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write},
    process::{ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use probe_tests::probe::Probe;
use rusqlite::Connection;
use serde::Serialize;

use crate::median;

/// Statements between two readings of the clock.
const STATEMENTS: u32 = 20_000;

/// What the child does in its loop.
const KINDS: [(&str, &str); 2] =
    [("select", "SELECT of a row, prepared once"), ("insert", "INSERT, a transaction of its own")];

/// Medians over the rounds, nanoseconds per statement.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    statement: &'static str,
    off_ns: f64,
    locks_ns: f64,
    statements_ns: f64,
}

/// The child's side: for every line on stdin one measurement on stdout.
pub(crate) fn make(kind: &str) -> Result<()> {
    // In memory: a disk is not what is measured.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let connection = Connection::open(folder.path().join("bench.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode=wal; PRAGMA synchronous=OFF; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
    )?;
    for line in std::io::stdin().lines() {
        line?;
        let mut statement = match kind {
            "select" => connection.prepare("SELECT x FROM t WHERE rowid = 1")?,
            "insert" => connection.prepare("INSERT INTO t VALUES (2)")?,
            _ => bail!("unknown loop `{kind}`"),
        };
        let began = Instant::now();
        for _ in 0..STATEMENTS {
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        println!("{}", began.elapsed().as_nanos() as f64 / f64::from(STATEMENTS));
    }
    Ok(())
}

/// Measures every kind of statement in turn.
pub(crate) fn measure(rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kind, statement) in KINDS {
        let (mut off, mut locks, mut statements) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            eprintln!("{statement}: round {round} of {rounds}");
            let mut child = Command::new(std::env::current_exe()?)
                .args(["--statements", kind])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("failed to start the loop")?;
            let mut ask = child.stdin.take().context("the loop has no stdin")?;
            let mut answer = BufReader::new(child.stdout.take().context("the loop has no stdout")?);
            let mut measured = || shortest(&mut ask, &mut answer);
            off.push(measured()?);
            let probe = Probe::attach(child.id(), &["--only", "sqlite"])?;
            locks.push(measured()?);
            probe.finish()?;
            let probe = Probe::attach(child.id(), &["--only", "sqlite,sqlite-statements"])?;
            statements.push(measured()?);
            probe.finish()?;
            drop(ask);
            child.wait()?;
        }
        let (off_ns, locks_ns, statements_ns) = (median(off), median(locks), median(statements));
        rows.push(Row { statement, off_ns, locks_ns, statements_ns });
    }
    Ok(rows)
}

/// The shortest of three, against what else the machine does.
fn shortest(ask: &mut impl Write, answer: &mut BufReader<ChildStdout>) -> Result<f64> {
    let mut shortest = f64::INFINITY;
    for _ in 0..3 {
        writeln!(ask)?;
        let mut line = String::new();
        answer.read_line(&mut line)?;
        shortest = shortest.min(line.trim().parse().context("the loop ended")?);
    }
    Ok(shortest)
}

/// For people.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "ns per SQLite statement                   off   locks  and statements\n".to_owned();
    for Row { statement, off_ns, locks_ns, statements_ns } in rows {
        let _ = writeln!(text, "{statement:<36} {off_ns:>8.0}{locks_ns:>8.0}{statements_ns:>16.0}");
    }
    text
}
