//! Threads and processes that contend for a SQLite database, each with a log of its own waits: the oracle of lock waits.
//!
//! `sqlite-contend DATABASE JOURNAL_MODE PROCESSES THREADS MILLISECONDS` waits for a line on its stdin, contends, prints one
//! JSON object, and waits for another line. SQLite itself says how often it slept: it does that through its VFS, and this
//! program puts itself there. Python cannot be asked: the time that its threads wait for one another is no wait for a lock.
//! Between its statements a thread sleeps for whole milliseconds, with the same calls that SQLite makes.

use std::{
    cell::Cell,
    env,
    ffi::c_int,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
    ptr,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::{Connection, ffi};
use serde::{Deserialize, Serialize};

/// What was done and waited, all together; see `probe_tests::locks::Contended`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Log {
    transactions: u64,
    statements: u64,
    waits: u64,
    attempts: u64,
    waited_s: f64,
}

impl Log {
    fn add(&mut self, other: &Self) {
        self.transactions += other.transactions;
        self.statements += other.statements;
        self.waits += other.waits;
        self.attempts += other.attempts;
        self.waited_s += other.waited_s;
    }
}

type Sleep = unsafe extern "C" fn(*mut ffi::sqlite3_vfs, c_int) -> c_int;

/// What SQLite would call.
static SLEEP: OnceLock<Sleep> = OnceLock::new();

thread_local! {
    /// Sleeps between two attempts at a lock that SQLite asked for on this thread.
    static SLEEPS: Cell<u64> = const { Cell::new(0) };
}

unsafe extern "C" fn counted_sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // The retries of WAL readers, which are no waits of the busy handler, last for microseconds.
    if microseconds % 1000 == 0 {
        SLEEPS.set(SLEEPS.get() + 1);
    }
    // SAFETY: the arguments are SQLite's own; the function does not look at the VFS.
    SLEEP.get().map_or(0, |original| unsafe { original(vfs, microseconds) })
}

/// Makes SQLite sleep through [`counted_sleep`].
fn count_sleeps() -> Result<()> {
    // SAFETY: a null pointer asks for the default one; what it returns lives as long as the process.
    let vfs = unsafe { ffi::sqlite3_vfs_find(ptr::null()).as_ref() }.context("SQLite has no VFS")?;
    let sleep = vfs.xSleep.context("SQLite cannot sleep")?;
    ensure!(SLEEP.set(sleep).is_ok(), "counted twice");
    let mut own = *vfs;
    own.zName = c"counted".as_ptr();
    own.xSleep = Some(counted_sleep);
    // SAFETY: what is registered lives as long as the process.
    let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(own)), 1) };
    ensure!(code == ffi::SQLITE_OK, "failed to register a VFS: {code}");
    Ok(())
}

/// A text on a page of its own.
#[repr(align(4096))]
struct Page([u8; 4096]);

const SELECT: &[u8] = b"SELECT count(*) FROM t";
/// It, and nothing else.
static SELECT_PAGE: Page = {
    let mut page = [0; 4096];
    let mut index = 0;
    while index < SELECT.len() {
        page[index] = SELECT[index];
        index += 1;
    }
    Page(page)
};

/// A text that is not in memory, as none of a program's constants is before somebody looks at it.
fn not_resident() -> Result<&'static str> {
    let page = &SELECT_PAGE.0;
    // SAFETY: a whole page of a constant, which is read again from the program's file when it is next looked at.
    let code = unsafe { libc::madvise(page.as_ptr().cast_mut().cast(), page.len(), libc::MADV_DONTNEED) };
    ensure!(code == 0, "failed to let go of a page: {}", io::Error::last_os_error());
    // `proc_pid_pagemap(5)`: 64 bits a page, the highest one if it is in memory.
    let mut entry = [0; 8];
    let place = page.as_ptr() as u64 / 4096 * 8;
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entry, place)?;
    ensure!(u64::from_ne_bytes(entry) >> 63 == 0, "a text is still in memory");
    // SAFETY: ASCII, as written above; looking at it here would bring it back.
    Ok(unsafe { std::str::from_utf8_unchecked(&page[..SELECT.len()]) })
}

/// Runs a statement and logs it if it waited.
fn timed(connection: &Connection, sql: &str, log: &mut Log) -> Result<()> {
    let before = SLEEPS.get();
    let begin = Instant::now();
    connection.execute_batch(sql)?;
    let took = begin.elapsed();
    let sleeps = SLEEPS.get() - before;
    log.statements += 1;
    if sleeps > 0 {
        log.waits += 1;
        log.attempts += sleeps;
        log.waited_s += took.as_secs_f64();
    }
    Ok(())
}

/// One thread's work; `seed` spreads the lengths of its pauses.
fn work(database: &str, until: Instant, seed: u64) -> Result<Log> {
    let mut log = Log::default();
    // One after the other: of those that find a WAL without an index at the same moment, one rebuilds it, and another may
    // take the writer's lock for nothing, which from outside looks like a transaction. (`flock` is no lock of SQLite's.)
    let turn = File::create(format!("{database}.turn"))?;
    turn.lock()?;
    let connection = Connection::open(database)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    timed(&connection, "PRAGMA synchronous=OFF", &mut log)?;
    timed(&connection, not_resident()?, &mut log)?;
    drop(turn);
    let mut chance = seed * 7 + 1;
    while Instant::now() < until {
        timed(&connection, "BEGIN IMMEDIATE", &mut log)?;
        timed(&connection, &format!("INSERT INTO t VALUES ({chance})"), &mut log)?;
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // sleep: a lock is held over work that takes its time
        thread::sleep(Duration::from_millis(2 + (chance >> 33) % 10));
        timed(&connection, "COMMIT", &mut log)?;
        log.transactions += 1;
        // sleep: between two requests
        thread::sleep(Duration::from_millis(1 + (chance >> 45) % 8));
    }
    Ok(log)
}

/// The work of one process.
fn process(database: &str, threads: u64, milliseconds: u64, number: u64) -> Result<Log> {
    count_sleeps()?;
    let until = Instant::now() + Duration::from_millis(milliseconds);
    let logs: Result<Vec<Log>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| scope.spawn(move || work(database, until, number * 100 + index)))
            .collect();
        let joined =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a thread died")));
        joined.collect()
    });
    let mut log = Log::default();
    logs?.iter().for_each(|of_thread| log.add(of_thread));
    Ok(log)
}

/// Processes that are programs of their own; they end before this returns.
fn processes(arguments: &[String], count: u64) -> Result<Log> {
    let mut children = Vec::new();
    for number in 0..count {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--child").args(arguments).arg(number.to_string());
        children.push(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    }
    let mut log = Log::default();
    for mut child in children {
        let mut text = String::new();
        child.stdout.take().context("no stdout")?.read_to_string(&mut text)?;
        ensure!(child.wait()?.success(), "a process failed");
        log.add(&serde_json::from_str(&text)?);
    }
    Ok(log)
}

fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--child", database, _, _, threads, milliseconds, number] => {
            let log = process(database, threads.parse()?, milliseconds.parse()?, number.parse()?)?;
            say(&serde_json::to_string(&log)?)
        }
        [database, mode, n_processes, threads, milliseconds] => {
            let connection = Connection::open(database)?;
            connection
                .execute_batch(&format!("PRAGMA journal_mode={mode}; CREATE TABLE IF NOT EXISTS t (x)"))?;
            drop(connection);
            say("ready")?;
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            let log = match n_processes.parse()? {
                1 => process(database, threads.parse()?, milliseconds.parse()?, 0)?,
                count => processes(&arguments, count)?,
            };
            say(&serde_json::to_string(&log)?)?;
            // Stays until it is told to go, so that nothing of its end is in the run.
            io::stdin().read_line(&mut line)?;
            Ok(())
        }
        _ => bail!("usage: sqlite-contend DATABASE JOURNAL_MODE PROCESSES THREADS MILLISECONDS"),
    }
}
