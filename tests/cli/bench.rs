//! What the trials share: a target that serves, the command run to its end, and the look at what is left.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramError;
use probe_tests::{host, probe, wait};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    pub(crate) port: u16,
}

impl Target {
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_plain-server"))
            .arg("recv")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the target")?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse().context("the target said no port")? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It still runs and answers.
    pub(crate) fn check(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "the target has ended");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(wait::SOON))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 15];
        stream.read_exact(&mut status)?;
        ensure!(&status == b"HTTP/1.1 200 OK", "{}", String::from_utf8_lossy(&status));
        Ok(())
    }

    /// Lets it end by itself, as when its stdin closes.
    pub(crate) fn end(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The lines of stderr that are not the log: `error: …`, `remedy: …` and what follows them.
    pub(crate) fn lines(&self, head: &str) -> Vec<&str> {
        self.stderr.lines().filter_map(|line| line.strip_prefix(head)).collect()
    }
}

/// The program with these arguments, in a folder of its own.
pub(crate) fn probe(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(probe::binary()?);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to its end.
pub(crate) fn end_of(command: &mut Command) -> Result<Answer> {
    let output = command.output().with_context(|| format!("failed to run {command:?}"))?;
    Ok(Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).context("stdout is not UTF-8")?,
        stderr: String::from_utf8(output.stderr).context("stderr is not UTF-8")?,
    })
}

/// Runs a command that must be refused: with this exit code, these words in its errors, a remedy, an empty
/// stdout, and nothing left in the kernel.
pub(crate) fn refused(command: &mut Command, code: i32, words: &[&str]) -> Result<Answer> {
    let before = Kernel::look()?;
    let answer = end_of(command)?;
    ensure!(answer.code == Some(code), "{answer:?}");
    ensure!(answer.stdout.is_empty(), "{answer:?}");
    let errors = answer.stderr.split_once("error: ").with_context(|| format!("{answer:?}"))?.1;
    for word in words {
        ensure!(errors.contains(word), "`{word}` is not in {answer:?}");
    }
    ensure!(answer.lines("remedy: ").iter().any(|remedy| !remedy.is_empty()), "no remedy in {answer:?}");
    ensure!(!answer.stderr.contains("panicked"), "{answer:?}");
    before.nothing_left()?;
    Ok(answer)
}

/// The kernel programs at one moment.
#[derive(Debug)]
pub(crate) struct Kernel(Option<BTreeSet<u32>>);

impl Kernel {
    /// Looks at what is loaded; a user who may not look could not load anything either.
    pub(crate) fn look() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self(None));
        }
        loaded().map(|ids| Self(Some(ids)))
    }

    /// No program is there now that was not there before, except such as a living process holds: that is
    /// another trial's. What has ended holds nothing, so anything of ours would be without a holder.
    pub(crate) fn nothing_left(&self) -> Result<()> {
        let Some(before) = &self.0 else { return Ok(()) };
        // The kernel frees programs a moment after their last holder.
        wait::until("the end of all programs without a holder", wait::SOON, || {
            let new: BTreeSet<u32> = loaded()?.difference(before).copied().collect();
            Ok(new.is_subset(&held()?).then_some(()))
        })
    }
}

/// Ids of the programs that the kernel holds.
pub(crate) fn loaded() -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for program in aya::programs::loaded_programs() {
        match program {
            Ok(program) => {
                ids.insert(program.id());
            }
            // It was freed while it was looked at.
            Err(ProgramError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("failed to list the loaded programs"),
        }
    }
    Ok(ids)
}

/// Ids of the programs that processes hold.
fn held() -> Result<BTreeSet<u32>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process that ends while it is looked at holds nothing.
    Ok(pids.filter_map(|pid| host::programs_of(pid).ok()).flatten().collect())
}
