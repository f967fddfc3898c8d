//! Lock waits of SQLite against the waiting application's own clock, and holders that are known by construction.

mod cases;
mod contention;
mod files;
mod holders;
mod libraries;
mod statements;
mod wal;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    locks::{Database, Hands},
    report::Report,
};
use tempfile::TempDir;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    contention::add_to(suite);
    holders::add_to(suite);
    cases::add_to(suite);
    files::add_to(suite);
    statements::add_to(suite);
    wal::add_to(suite);
    libraries::add_to(suite);
    work::add_to(suite);
}

/// Two threads of one process, each with its connection to one database.
struct Pair {
    folder: TempDir,
    path: PathBuf,
    hands: Hands,
    /// The thread `a`, with the connection `a`.
    holder: u32,
    /// The thread `b`, with the connection `b`.
    waiter: u32,
}

impl Pair {
    fn new(mode: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("app.db");
        let (mut hands, holder) = holders::target(&path, mode)?;
        hands.open("b", "b", &path, 20.0)?;
        let waiter = hands.sql("b", "b", "SELECT * FROM t")?.tid;
        Ok(Self { folder, path, hands, holder, waiter })
    }
}

/// What the report says of a database; it must be there once.
fn database(report: &Report, path: &Path) -> Result<Database> {
    report.nothing_lost()?;
    let all = databases(report)?;
    let mut found: Vec<&Database> = all.iter().filter(|found| Path::new(&found.database) == path).collect();
    ensure!(found.len() == 1, "`{}` stands {} times in {all:?}", path.display(), found.len());
    found.pop().cloned().context("counted just now")
}

/// All that are in the report, none where there is no such section.
fn databases(report: &Report) -> Result<Vec<Database>> {
    if report.0.get("sqlite").is_some() { report.at("/sqlite") } else { Ok(Vec::new()) }
}
