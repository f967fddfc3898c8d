//! `probe merge`: hosts apart say together what one run of both says.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    client::{Conn, Request},
    probe::{Outcome, Probe},
    wait,
};
use serde_json::{Value, json};

use super::{Change, RULES, Runs, SAME, lines, report_in};
use crate::{
    Suite,
    bench::{end_of, probe, refused},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("merge::two_hosts_are_one_run", two_hosts_are_one_run);
    suite.add("merge::what_cannot_be_merged_is_refused", what_cannot_be_merged_is_refused);
    suite.add_root("merge::two_probes_are_one", two_probes_are_one);
}

/// Each of two hosts saw one of the connections: together they say what one probe says that saw both.
fn two_hosts_are_one_run() -> Result<()> {
    let runs = Runs::new()?;
    let all = lines()?;
    runs.keep("both", &all, RULES)?;
    for (host, conn) in [("a", 1), ("b", 2)] {
        let is_own = |line: &&Value| line["conn"].as_u64().is_none_or(|of| of == conn);
        let mut own: Vec<Value> = all.iter().filter(is_own).cloned().collect();
        let last = own.len() - 1;
        own[0]["run_id"] = host.into();
        let summary = &mut own[last]["summary"];
        summary["run_id"] = host.into();
        summary["host"] = host.into();
        if host == "b" {
            // What is no event was all seen by the other.
            (summary["syscalls"], summary["listeners"]) = (json!([]), json!([]));
            (summary["events"], summary["processes"]) = (json!(0), json!(0));
        }
        runs.keep(host, &own, RULES)?;
    }
    let mut command = probe(&["merge", "a", "b", "--out", "merged", "--inconclusive", "pass"])?;
    let answer = end_of(command.current_dir(&runs.0))?;
    ensure!(answer.code == Some(0) && !answer.stdout.is_empty(), "{answer:?}");
    ensure!(answer.stdout == fs::read_to_string(runs.path("merged/report.txt"))?, "another text on stdout");
    let (mut merged, whole) = (runs.report("merged")?, runs.report("both")?);
    ensure!(merged["run"]["id"] == "merged of a, b" && merged["run"]["host"] == "a, b", "{}", merged["run"]);
    ensure!(whole["overall"]["requests"] == 480 && whole["endpoints"].as_array().map(Vec::len) == Some(2));
    // Only who it was differs, and that some things are not merged, which it says.
    merged["run"] = whole["run"].clone();
    let untold = merged["health"]["blind_spots"].take();
    ensure!(untold.as_array().map(Vec::len) == Some(1), "{untold}");
    merged["health"]["blind_spots"] = whole["health"]["blind_spots"].clone();
    for (key, value) in whole.as_object().context("no report")? {
        ensure!(merged[key] == *value, "`{key}`\n{}\nis not\n{value}", merged[key]);
    }
    // What was merged is a run like any other.
    for pair in [["both", "merged"], ["merged", "both"]] {
        let answer = runs.compare(pair[0], &pair[1..], &[])?;
        let left_out: Value = serde_json::from_str(&answer.stdout)?;
        ensure!(answer.code == Some(0), "{pair:?}: {}", left_out["comparison"]);
    }
    Ok(())
}

fn what_cannot_be_merged_is_refused() -> Result<()> {
    let runs = Runs::new()?;
    runs.add("own", SAME)?;
    runs.add("alike", SAME)?;
    runs.add("other", Change { profile: "name = 'other'\n", ..SAME })?;
    for (arguments, words) in [
        (&["own", "other", "--out", "merged"][..], "run `other` was made with another profile"),
        (&["own", "alike", "--out", "own"], "already exists and is not empty"),
        (&["own", "nowhere", "--out", "merged"], "`nowhere` holds no run"),
    ] {
        let mut command = probe(&[&["merge"], arguments].concat())?;
        refused(command.current_dir(&runs.0), 2, &[words])?;
        ensure!(!runs.path("merged").exists(), "{arguments:?} left a directory");
    }
    let alone = end_of(probe(&["merge", "own", "--out", "merged"])?.current_dir(&runs.0))?;
    ensure!(alone.code == Some(2) && !runs.path("merged").exists(), "{alone:?}");
    Ok(())
}

/// A shell with two servers, each of which prints its port, as one service on two hosts.
struct Pair(Child);

impl Pair {
    fn start(folder: &Path) -> Result<Self> {
        let server = env!("CARGO_BIN_EXE_plain-server");
        let one = |name: &str| format!("sleep 3600 | {server} recv > {name} & echo $! > {name}.pid");
        let script = format!("{}; {}; wait", one("a"), one("b"));
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", &script]).current_dir(folder).stdin(Stdio::null());
        Ok(Self(command.spawn().context("failed to start two servers")?))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).map(nix::unistd::Pid::from_raw);
        let _gone = group.map(|group| nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL));
        let _gone = self.0.wait();
    }
}

/// Three probes at the same time: one on each of two servers, one on both. What the two say together is what the third
/// says: counts to the last one, percentiles as near as three looks at one clock can be.
fn two_probes_are_one() -> Result<()> {
    const N: [(&str, u32); 2] = [("a", 150), ("b", 230)];
    let folder = tempfile::tempdir()?;
    let pair = Pair::start(folder.path())?;
    let number = |name: &str| -> Result<u32> {
        wait::until("a port and a pid", wait::SOON, || {
            let text = fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            Ok(text.split_once('\n').and_then(|(number, _)| number.parse().ok()))
        })
    };
    let mut addresses = Vec::new();
    for (name, _) in N {
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(number(name)?)?)));
    }
    let mut probes = vec![Probe::attach(pair.0.id(), &[])?];
    for (name, _) in N {
        probes.push(Probe::attach(number(&format!("{name}.pid"))?, &[])?);
    }
    for (address, (_, n)) in addresses.into_iter().zip(N) {
        let mut conn = Conn::open(address)?;
        for _ in 0..n {
            conn.exchange(&Request::get("/documents/1"))?;
        }
    }
    let outcomes = probes.into_iter().map(Probe::finish).collect::<Result<Vec<_>>>()?;
    let mut command = probe(&["merge", "--out", "merged", "--inconclusive", "pass"])?;
    command.args(outcomes[1..].iter().map(Outcome::run_dir));
    let answer = end_of(command.current_dir(&folder))?;
    ensure!(answer.code == Some(0), "{answer:?}");
    let (merged, whole) = (report_in(&folder.path().join("merged"))?, report_in(&outcomes[0].run_dir())?);
    let n: u32 = N.iter().map(|(_, n)| n).sum();
    ensure!(whole["overall"]["requests"] == n && merged["overall"]["requests"] == n, "{}", merged["overall"]);
    for key in ["errors", "aborted", "bytes_in", "bytes_out"] {
        ensure!(merged["overall"][key] == whole["overall"][key], "{key}: {}", merged["overall"]);
    }
    let calls = |report: &Value| report["syscalls"].as_array().cloned().context("no calls");
    let (one, all) = (calls(&merged)?, calls(&whole)?);
    ensure!(one.len() == all.len() && !all.is_empty(), "{one:?} is not {all:?}");
    for (one, all) in one.iter().zip(&all) {
        for key in ["op", "role", "calls", "bytes", "errors"] {
            ensure!(one[key] == all[key], "{key}: {one} is not {all}");
        }
    }
    for key in ["p50", "p95", "p99"] {
        let of = |report: &Value| report["overall"]["latency_s"][key].as_f64().unwrap_or(f64::NAN);
        let (one, all) = (of(&merged), of(&whole));
        ensure!((one - all).abs() < 200e-6_f64.max(0.02 * all), "{key}: {one} s merged, {all} s of both");
    }
    Ok(())
}
