//! Other tools that time the calls of a process by histograms, as rooms of ours do: how each is started, when it is attached,
//! and how many calls it says it saw. One that saw none has not been measured.

use std::{
    env,
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_tests::{host, wait};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Bpftrace,
    PerfTrace,
    Rezolus,
}

/// A path to rezolus, where it is not in PATH.
const REZOLUS: &str = "PROBE_BENCH_REZOLUS";

/// One that is attached; it ends when it is dropped.
pub(crate) struct Running {
    peer: Peer,
    child: Child,
    folder: tempfile::TempDir,
    /// Where rezolus is asked.
    addr: SocketAddr,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Bpftrace, Self::PerfTrace, Self::Rezolus];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bpftrace => "bpftrace",
            Self::PerfTrace => "perf trace -s",
            Self::Rezolus => "rezolus",
        }
    }

    /// Starts it on a process and waits until it sees its calls.
    pub(crate) fn attach(self, pid: u32) -> Result<Running> {
        let folder = tempfile::tempdir().context("failed to make a folder for a peer")?;
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
        let output = File::create(folder.path().join("output"))?;
        let mut command = self.command(pid, folder.path(), addr)?;
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        let child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("it is not installed"),
            child => child.context("it does not start")?,
        };
        let mut running = Running { peer: self, child, folder, addr };
        running.attached().with_context(|| format!("it said:\n{}", running.output().unwrap_or_default()))?;
        Ok(running)
    }

    fn command(self, pid: u32, folder: &Path, addr: SocketAddr) -> Result<Command> {
        let pid = pid.to_string();
        Ok(match self {
            Self::Bpftrace => {
                let mut command = Command::new("bpftrace");
                command.arg("-e").arg(format!(
                    "tracepoint:raw_syscalls:sys_enter /pid == {pid}/ {{ @start[tid] = nsecs; }}\n\
                     tracepoint:raw_syscalls:sys_exit /@start[tid]/ \
                     {{ @ns[args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); }}"
                ));
                command
            }
            Self::PerfTrace => {
                let mut command = Command::new("perf");
                command.args(["trace", "-s", "-p", &pid]);
                command
            }
            Self::Rezolus => {
                let config = folder.join("agent.toml");
                // What it does for the whole machine is the same for each process, so it is told of none.
                let text = format!(
                    "[general]\nlisten = \"{addr}\"\n[scheduler]\npolicy = \"normal\"\n[log]\nlevel = \"warn\"\n\
                     [defaults]\nenabled = false\n[samplers.syscall_latency]\nenabled = true\n"
                );
                fs::write(&config, text).context("failed to write its configuration")?;
                let mut command = Command::new(env::var_os(REZOLUS).unwrap_or_else(|| "rezolus".into()));
                command.arg(config);
                command
            }
        })
    }
}

impl Running {
    fn attached(&mut self) -> Result<()> {
        // The kernel counts the runs of programs while this lives.
        let _counting = enable_stats(Stats::RunTime).context("failed to let the kernel count")?;
        wait::until("its attach", wait::SOON, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status})");
            }
            let is_attached = match self.peer {
                Peer::PerfTrace => has_events(self.child.id())?,
                Peer::Bpftrace | Peer::Rezolus => has_run(self.child.id())?,
            };
            Ok(is_attached.then_some(()))
        })
    }

    fn output(&self) -> Result<String> {
        fs::read_to_string(self.folder.path().join("output")).context("failed to read its output")
    }

    /// Ends it: how many calls it says it saw.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let snapshot = if self.peer == Peer::Rezolus { snapshot(self.addr)? } else { String::new() };
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).context("failed to end it")?;
        wait::until("its end", wait::SOON, || Ok(self.child.try_wait()?))?;
        let output = self.output()?;
        let counted = match self.peer {
            Peer::Bpftrace => of_histograms(&output),
            Peer::PerfTrace => of_summary(&output),
            Peer::Rezolus => of_snapshot(&serde_json::from_str(&snapshot).context("no JSON")?),
        };
        ensure!(counted > 0, "it counted no call; it said:\n{output}");
        Ok(counted)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or its measurement failed.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// perf opens its events, lets them count, and only then sleeps until there is something to read.
fn has_events(pid: u32) -> Result<bool> {
    let poll = u64::try_from(libc::SYS_poll)?;
    let holds_events = fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .any(|target| target.as_os_str() == "anon_inode:[perf_event]");
    Ok(holds_events && host::sleeping_in(pid) == Some(poll))
}

/// Each call of whichever process runs both programs, entry and exit, once they are attached.
fn has_run(pid: u32) -> Result<bool> {
    let held = host::programs_of(pid)?;
    let mut ran = 0;
    // A program that has gone since it was listed is nobody's that we wait for.
    for program in loaded_programs().flatten().filter(|program| held.contains(&program.id())) {
        ran += usize::from(program.run_count() > 0);
    }
    Ok(ran >= 2 && ran == held.len())
}

/// bpftrace: `[512, 1K)   577005 |@@@@  |`.
fn of_histograms(output: &str) -> u64 {
    let rows = output.lines().filter(|line| line.starts_with(['[', '(']));
    rows.filter_map(|row| row.split('|').next()?.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

/// perf: behind a line of dashes `   read   101148   0  1870.565 …`.
fn of_summary(output: &str) -> u64 {
    let rows = output.lines().skip_while(|line| !line.trim_start().starts_with("---"));
    rows.filter_map(|row| row.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// rezolus: all buckets of all histograms, since it was told to have those of calls alone.
fn of_snapshot(value: &serde_json::Value) -> u64 {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let sum = |(name, value): (&String, &Value)| match value {
                Value::Array(counts) if name == "buckets" => counts.iter().filter_map(Value::as_u64).sum(),
                value => of_snapshot(value),
            };
            fields.iter().map(sum).sum()
        }
        Value::Array(values) => values.iter().map(of_snapshot).sum(),
        _ => 0,
    }
}

fn snapshot(addr: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(addr).context("it does not listen")?;
    stream.write_all(b"GET /metrics/json HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.contains(" 200 "), "it answered {head}");
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_histograms() {
        let output = "Attaching 2 probes...\n\n@ns[0]: \n[512, 1K)         577005 |@@@@@|\n[1K, 2K)           59781 |@    |\n\
                      (..., 0)               3 |     |\n\n@start[7]: 12345\n";
        assert_eq!(of_histograms(output), 577_005 + 59_781 + 3);
        assert_eq!(of_histograms("Attaching 2 probes...\n"), 0);
    }

    #[test]
    fn counts_of_a_summary() {
        let output = "\n Summary of events:\n\n python3 (10526), 202519 events, 100.0%\n\n   \
                      syscall            calls  errors  total\n   --------------- --------  ------ --------\n   \
                      read              101148      0  1870.565\n   clock_nanosleep      102      0  1028.270\n\n";
        assert_eq!(of_summary(output), 101_148 + 102);
        assert_eq!(of_summary(" Summary of events:\n"), 0);
    }

    #[test]
    fn counts_of_a_snapshot() {
        let histogram = |buckets| serde_json::json!({"value": {"config": {"max": 9}, "buckets": buckets}});
        let snapshot = serde_json::json!({"V2": {"histograms": [histogram([1, 2]), histogram([0, 4])], "counters": [8]}});
        assert_eq!(of_snapshot(&snapshot), 7);
    }
}
