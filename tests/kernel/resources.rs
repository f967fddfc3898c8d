//! What a target uses, against what it was made to use: a script that burns CPU, takes memory, opens descriptors and
//! starts threads by command, and `/proc` as the test reads it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    client::{Conn, Request},
    host,
    probe::{Outcome, Probe},
    say::say,
    server::{Uvicorn, python},
    wait,
};
use serde_json::Value;

use crate::{Suite, add, watch::finish};

pub(crate) fn add_to(suite: &mut Suite) {
    add!(suite, used_as_told, verdicts_on_use, connections_and_workers);
}

/// Does one thing per line of its input, and says when it has.
const SCRIPT: &str = "
import sys, threading, time
kept = []
for line in sys.stdin:
    what, n = line.split()
    if what == 'memory':
        kept.append(bytearray(b'x') * (int(n) << 20))
    elif what == 'open':
        kept += [open('/dev/null') for _ in range(int(n))]
    elif what == 'threads':
        for _ in range(int(n)):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif what == 'burn':
        end = time.thread_time() + int(n) / 1000
        while time.thread_time() < end:
            pass
    print(time.process_time(), flush=True)
";

struct Script {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Script {
    fn start() -> Result<Self> {
        let mut child = Command::new(python()?)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start a script")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut script = Self { child, stdin, stdout };
        script.order("memory", 1)?;
        Ok(script)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its own CPU time after the order is done, seconds.
    fn order(&mut self, what: &str, n: u32) -> Result<f64> {
        writeln!(self.stdin, "{what} {n}")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("`{what} {n}`: the script said `{line}`"))
    }

    /// Its resident memory, bytes, as `/proc` has it now.
    fn rss(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    fn fds(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Gone already, or nobody's any more.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn number(value: &Value, place: &str) -> Result<f64> {
    value.pointer(place).and_then(Value::as_f64).with_context(|| format!("no `{place}` in {value}"))
}

/// The number there is this one.
fn is(value: &Value, place: &str, expected: usize) -> Result<bool> {
    Ok((number(value, place)? - expected as f64).abs() < 0.5)
}

/// A run over a script, which is told what to do between its looks at the beginning and at the end.
fn over(
    profile: &str,
    more: &[&str],
    tell: impl FnOnce(&mut Script) -> Result<()>,
) -> Result<(Outcome, Script)> {
    let mut script = Script::start()?;
    let probe = Probe::attach_with(script.pid(), profile, more)?;
    tell(&mut script)?;
    // Looks come a second after one another: the first line of progress is printed after some of them.
    let seen = probe.stderr()?.len();
    wait::until("a line of progress", wait::SOON, || Ok((probe.stderr()?.len() > seen).then_some(())))?;
    // The exit code is that of the verdicts.
    probe.signal(Signal::SIGINT)?;
    Ok((probe.outcome(wait::SOON)?, script))
}

/// Memory, descriptors, threads and CPU are as the script was told, and as `/proc` has them.
fn used_as_told() -> Result<()> {
    let mut before = (0.0, 0, 0.0, 0.0);
    let (outcome, script) = over("name = 'test'\n", &["--record"], |script| {
        let (rss, fds) = (script.rss()?, script.fds()?);
        let began = script.order("memory", 100)?;
        script.order("open", 50)?;
        script.order("threads", 7)?;
        let ended = script.order("burn", 1500)?;
        before = (rss, fds, began, ended);
        Ok(())
    })?;
    let (rss, fds, began, ended) = before;
    let used: Value = outcome.report.at("/resources/0")?;
    let duration_s: f64 = outcome.report.at("/run/duration_s")?;
    let cpus = number(&used, "/cpus")?;
    let cpu_s = number(&used, "/cpu_ratio/mean")? * duration_s * cpus;
    // What it took before its first answer counts to neither; the looks begin just after the attach.
    let least = ended - began;
    say(&format!("    cpu {cpu_s:.3} s of at least {least:.3} s; looks {}", used["looks"]));
    // The mean is that of the time between the first look and the last, a quarter of a second less than the run at most.
    ensure!(
        cpu_s > least * 0.95 && cpu_s < ended * 1.08,
        "cpu {cpu_s} s, the script's own clock says {least} to {ended} s"
    );
    ensure!(is(&used, "/fds/max", fds + 50)?, "{fds} and 50 were open: {}", used["fds"]);
    ensure!(is(&used, "/threads/max", 8)?, "{}", used["threads"]);
    let end = number(&used, "/rss_end_bytes")?;
    ensure!((end - script.rss()?).abs() < 2e6, "{end} at the end, /proc has {}", script.rss()?);
    let growth = number(&used, "/rss_growth_ratio")?;
    // The script had its memory before the attach, give or take what Python does in between, and pages of its files that a
    // small machine takes back.
    let start = number(&used, "/rss_start_bytes")?;
    ensure!((start - rss).abs() < 4e6, "{start} at the start, /proc had {rss}");
    let expected = end / start - 1.0;
    say(&format!("    growth {growth:.3}, expected {expected:.3}"));
    ensure!((growth - expected).abs() < 0.001 * expected, "growth {growth}, expected {expected}");
    ensure!(number(&used, "/switches_per_s/max")? > 0.0 && number(&used, "/run_queue_ratio/max")? >= 0.0);
    let process = &used["processes"][0];
    ensure!(process["pid"] == script.pid() && number(process, "/cpu_ratio/max")? > 0.2, "{process}");
    ensure!(number(&used, "/machine_cpu_ratio/mean")? * cpus * duration_s > least * 0.9, "{used}");
    ensure!(
        outcome.stdout.contains("RESOURCES")
            && outcome.report.at::<Vec<Value>>("/resource_history")?.len() > 2
    );
    Ok(())
}

/// The audit's bounds: memory that grows by more than half fails, descriptors within theirs pass.
fn verdicts_on_use() -> Result<()> {
    let profile = "name = 'bounds'\n\
        [[objective]]\nid = 'growth'\nresource = 'target'\nmetric = 'rss_growth'\ntarget = '10%'\nlimit = '50%'\n\
        [[objective]]\nid = 'fds'\nresource = 'process *'\nmetric = 'fds.max'\ntarget = 200\nlimit = 200\n\
        [[objective]]\nid = 'none'\nresource = 'disk nothere'\nmetric = 'busy.p95'\ntarget = '10%'\nlimit = '70%'\n";
    let (outcome, _script) = over(profile, &[], |script| script.order("memory", 200).map(|_| ()))?;
    let judged: Vec<Value> = outcome.report.at("/objectives")?;
    let verdicts: Vec<_> =
        judged.iter().map(|judged| judged["verdict"].as_str().unwrap_or_default()).collect();
    ensure!(verdicts == ["fail", "pass", "inconclusive"], "{judged:?}");
    Ok(())
}

/// Two workers are two processes, both in the sum; connections are those that stand.
fn connections_and_workers() -> Result<()> {
    let server = Uvicorn { workers: 2, ..Uvicorn::new("uvloop", "httptools") }.start()?;
    let mut conns = (0..12).map(|_| Conn::open(server.addr())).collect::<Result<Vec<_>>>()?;
    let probe = Probe::attach(server.pid(), &[])?;
    for conn in &mut conns {
        conn.exchange(&Request::get("/hello"))?;
    }
    let seen = probe.stderr()?.len();
    wait::until("a line of progress", wait::SOON, || Ok((probe.stderr()?.len() > seen).then_some(())))?;
    let tree = host::tree(server.pid())?;
    let outcome = finish(probe, &server)?;
    let used: Value = outcome.report.at("/resources/0")?;
    ensure!(is(&used, "/connections/max", conns.len())?, "{}", used["connections"]);
    let mut pids: Vec<u64> = used["processes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    pids.sort_unstable();
    let mut expected: Vec<u64> = tree.into_iter().map(u64::from).collect();
    expected.sort_unstable();
    ensure!(pids == expected && pids.len() >= 3, "{pids:?}, the tree is {expected:?}");
    Ok(())
}
