//! Nanoseconds per SQLite statement: not traced, with locks alone, and with statements.

use anyhow::{Result, bail};
use probe_tests::probe::Probe;
use rusqlite::Connection;

use crate::{
    figure::Figure,
    repeat::{Repeat, timed},
};

/// Statements between two readings of the clock.
const STATEMENTS: u32 = 10_000;

/// What the child does.
const KINDS: [(&str, &str); 2] = [("select", "SELECT, prepared"), ("insert", "INSERT")];

/// The child's side.
pub(crate) fn make(kind: &str) -> Result<()> {
    // In memory: a disk is not what is measured.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let connection = Connection::open(folder.path().join("bench.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode=wal; PRAGMA synchronous=OFF; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
    )?;
    let mut statement = match kind {
        "select" => connection.prepare("SELECT x FROM t WHERE rowid = 1")?,
        "insert" => connection.prepare("INSERT INTO t VALUES (2)")?,
        _ => bail!("unknown kind of statement `{kind}`"),
    };
    timed(STATEMENTS, || {
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    })
}

pub(crate) fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (kind, statement) in KINDS {
        let (mut off, mut locks, mut statements) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut child = Repeat::start(&format!("statements/{kind}"))?;
            off.push(child.turn_ns()?);
            for (rooms, values) in [("sqlite", &mut locks), ("sqlite,sqlite-statements", &mut statements)] {
                let probe = Probe::attach(child.pid(), &["--only", rooms])?;
                values.push(child.turn_ns()?);
                probe.finish()?;
            }
        }
        for (what, on) in [("locks", &locks), ("and statements", &statements)] {
            let figure = Figure::pairs(format!("{statement}: {what}"), "ns", &off, on);
            figures.push(Figure { part: "statements".to_owned(), ..figure });
        }
    }
    Ok(figures)
}
