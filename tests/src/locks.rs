//! Applications that contend for SQLite databases, and log what they waited: the oracle of lock waits.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{report::Dist, servers::with_packages};

/// `tests/targets/locks`.
fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/locks").join(name)
}

/// A Python program that talks in lines; it ends when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts a command that reads lines and answers with lines.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, stdin, stdout })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").context("failed to speak to a program")
    }

    /// Its next line.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a program ended without an answer");
        Ok(line.trim().to_owned())
    }

    /// Its next line, as JSON.
    pub fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.hear()?;
        serde_json::from_str(&line).with_context(|| format!("failed to read `{line}`"))
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// What contending threads logged, all together.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Contended {
    /// Write transactions.
    pub transactions: u64,
    /// Statements, those included that make a transaction.
    pub statements: u64,
    /// Of these, the ones in which SQLite slept.
    pub waits: u64,
    /// How often it did.
    pub attempts: u64,
    /// How long the statements took in which it did.
    pub waited_s: f64,
}

/// Starts `processes` times `threads` of `sqlite-contend`, which will contend for a database once they get a line.
pub fn contend(
    binary: &str,
    database: &Path,
    mode: &str,
    (processes, threads): (u32, u32),
    length: Duration,
) -> Result<Program> {
    let mut command = Command::new(binary);
    command.arg(database).arg(mode);
    command.args([processes.to_string(), threads.to_string(), length.as_millis().to_string()]);
    let mut program = Program::start(&mut command)?;
    ensure!(program.hear()? == "ready");
    Ok(program)
}

/// Threads that do what they are told.
#[derive(Debug)]
pub struct Hands(Program);

/// What a thread says when it is done.
#[derive(Clone, Debug, Deserialize)]
pub struct Done {
    /// Its name.
    pub thread: String,
    /// Its id.
    pub tid: u32,
    /// How long it took.
    pub took_s: f64,
    /// It gave its core away meanwhile.
    pub slept: bool,
    /// SQLite's message, where it failed.
    pub error: Option<String>,
    /// Its extended result code, where the module tells.
    pub code: Option<i32>,
    /// The first row, where that was asked for.
    pub row: Option<Vec<i64>>,
}

impl Hands {
    /// No thread has anything to do yet.
    pub fn start() -> Result<Self> {
        Self::start_with("sqlite3")
    }

    /// The same by another module of Python: `pysqlite3` or `apsw`.
    pub fn start_with(module: &str) -> Result<Self> {
        let mut command = with_packages("locks")?;
        Ok(Self(Program::start(command.arg(script("hands.py")).arg(module))?))
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Tells a thread to do something, and does not wait for it.
    pub fn tell(&mut self, thread: &str, what: &str, more: &Value) -> Result<()> {
        let mut task = json!({"thread": thread, "do": what});
        if let (Some(task), Some(more)) = (task.as_object_mut(), more.as_object()) {
            task.extend(more.clone());
        }
        self.0.say(&task.to_string())
    }

    /// The next answer, whosever it is.
    pub fn done(&mut self) -> Result<Done> {
        self.0.answer()
    }

    /// Tells a thread to do something and waits until it has; it must not fail.
    pub fn ask(&mut self, thread: &str, what: &str, more: &Value) -> Result<Done> {
        self.tell(thread, what, more)?;
        let done = self.done()?;
        ensure!(done.thread == thread && done.error.is_none(), "{thread} was to {what}: {done:?}");
        Ok(done)
    }

    /// Opens a connection.
    pub fn open(&mut self, thread: &str, connection: &str, database: &Path, timeout_s: f64) -> Result<()> {
        let more = json!({"connection": connection, "database": database, "timeout": timeout_s});
        self.ask(thread, "open", &more).map(drop)
    }

    /// Writes a file.
    pub fn write(&mut self, thread: &str, path: &Path) -> Result<()> {
        self.ask(thread, "write", &json!({"path": path})).map(drop)
    }

    /// Writes a marker: a stage of a document begins or ends.
    pub fn mark(&mut self, thread: &str, stage: &str, doc: &str, moment: &str) -> Result<()> {
        self.ask(thread, "mark", &json!({"stage": stage, "doc": doc, "moment": moment})).map(drop)
    }

    /// Runs SQL.
    pub fn sql(&mut self, thread: &str, connection: &str, sql: &str) -> Result<Done> {
        self.ask(thread, "sql", &json!({"connection": connection, "sql": sql}))
    }

    /// Begins to run SQL.
    pub fn tell_sql(&mut self, thread: &str, connection: &str, sql: &str) -> Result<()> {
        self.tell(thread, "sql", &json!({"connection": connection, "sql": sql}))
    }

    /// Kills the process.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()
    }
}

/// A database in the report.
#[derive(Clone, Debug, Deserialize)]
pub struct Database {
    /// Its path.
    pub database: String,
    /// `wal` or `rollback`.
    pub journal_mode: String,
    /// Its name became another file's.
    pub replaced: bool,
    /// Write transactions.
    pub transactions: u64,
    /// Waits that ended.
    pub lock_waits: u64,
    /// Write transactions that waited among all.
    pub contention_ratio: Option<f64>,
    /// Their length.
    pub wait_s: Dist,
    /// Asleep though the lock was free.
    pub overshoot_s: Dist,
    /// Sleeps.
    pub attempts: u64,
    /// Waits that ended in `SQLITE_BUSY`.
    pub gave_up: u64,
    /// Waits that the end cut short.
    pub unfinished_s: Dist,
    /// By lock.
    pub by_lock: Vec<LockWaits>,
    /// Who held the locks.
    pub holders: Vec<Holder>,
    /// What was executed.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// Waits for a connection that another thread used.
    pub mutex_wait_s: Dist,
    /// Waits by whose they were.
    #[serde(default)]
    pub by_whom: Vec<WaitsOf>,
    /// Requests that waited.
    pub by_request: Option<RequestWaits>,
    /// What was waited behind.
    #[serde(default)]
    pub behind: Vec<Deed>,
    /// Checkpoints of the WAL.
    pub wal_checkpoints: WalCheckpoints,
}

/// For whom something was done.
#[derive(Clone, Debug, Deserialize)]
pub struct Whose {
    /// `endpoint` or `stage`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Number of a stage.
    pub index: Option<u32>,
    /// How that is known.
    pub joined_by: String,
}

/// Waits of one.
#[derive(Clone, Debug, Deserialize)]
pub struct WaitsOf {
    /// None for those of which it cannot be told.
    pub whose: Option<Whose>,
    /// How many.
    pub waits: u64,
    /// How long.
    pub wait_s: f64,
}

/// Requests with a wait.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RequestWaits {
    /// All of them.
    pub requests: u64,
    /// Those known to have waited.
    pub waited: u64,
    /// With those that may have.
    pub waited_at_most: u64,
}

/// What was waited behind, or who made checkpoints.
#[derive(Clone, Debug, Deserialize)]
pub struct Deed {
    /// The lock.
    pub lock: Option<String>,
    /// The statement.
    pub statement: Option<String>,
    /// For whom.
    pub whose: Option<Whose>,
    /// Times.
    pub times: u64,
    /// How long.
    pub total_s: f64,
    /// The thread that took longest.
    pub tid: u32,
}

/// Checkpoints of a WAL.
#[derive(Clone, Debug, Deserialize)]
pub struct WalCheckpoints {
    /// How many.
    pub count: u64,
    /// How long.
    pub duration_s: Dist,
    /// Pages written.
    pub pages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Syncing calls.
    pub fsyncs: u64,
    /// By whom.
    #[serde(default)]
    pub paid_by: Vec<Deed>,
}

/// A statement without its literals.
#[derive(Clone, Debug, Deserialize)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// Executions.
    pub calls: u64,
    /// Rows that they returned.
    pub rows: u64,
    /// Executions that failed.
    pub errors: u64,
    /// Of these, because of a lock.
    pub busy: u64,
    /// Of these, without a wait.
    pub busy_at_once: u64,
    /// Of these, because of an old snapshot.
    pub busy_snapshot: u64,
    /// Time inside SQLite, all in all.
    pub total_s: f64,
    /// Waits for locks.
    pub lock_waits: u64,
    /// How long, all in all.
    pub lock_wait_s: f64,
}

/// Waits for one lock.
#[derive(Clone, Debug, Deserialize)]
pub struct LockWaits {
    /// `RESERVED`
    pub lock: String,
    /// `process` or `system`.
    pub scope: String,
    /// How many.
    pub waits: u64,
}

/// One lock in the hands of one thread.
#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its name.
    pub comm: Option<String>,
    /// Part of the target.
    pub in_target: bool,
    /// Which lock.
    pub lock: String,
    /// How often.
    pub holds: u64,
    /// How long.
    pub hold_s: Dist,
    /// How long others waited for it.
    pub blocked_s: f64,
    /// What it was held for, where that is known.
    pub statement: Option<String>,
}

impl Database {
    /// The holder for whom others waited longest.
    pub fn worst(&self) -> Result<&Holder> {
        self.holders.first().filter(|holder| holder.blocked_s > 0.0).context("nobody stood in the way")
    }
}
