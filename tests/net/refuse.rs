//! What cannot be is refused with a sentence, and nothing is touched.

use std::{fs, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Result, ensure};
use probe_tests::probe::copy_of_binary;

use crate::{
    Suite,
    bench::{Injection, look, net},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("refuse::impossible_requests", impossible);
    suite.add("refuse::no_rights", no_rights);
    suite.add("refuse::a_port_that_nobody_uses", unused_port);
    suite.add("refuse::a_kernel_without_netem", without_netem);
}

fn impossible() -> Result<()> {
    let before = look("lo")?;
    for (arguments, code, part) in [
        (&["--dev", "nowhere", "poor"][..], 1, "no network device has the name `nowhere`"),
        (&["--dev", "lo", "--set", "loss=100%"], 1, "no scope says of what"),
        (&["--dev", "lo", "--set", "up.rate=1mbit"], 1, "cannot be told apart"),
        (&["--dev", "lo", "--set", "loss=101%"], 2, "between 0 and 100%"),
        (&["--dev", "lo", "--set", "delay=-5ms"], 2, "time with its unit"),
        (&["--dev", "lo", "--set", "rate=fast"], 2, "bits per second"),
        (&["--dev", "lo", "--set", "dealy=5ms"], 2, "did you mean `delay`?"),
        (&["--dev", "lo", "pooor"], 2, "did you mean `poor`?"),
        (&["--dev", "lo"], 2, "no condition is named"),
        (&["--dev", "lo", "poor", "--peer", "300.1.1.1"], 2, "must be an address"),
        (&["--dev", "lo", "poor", "--cgroup", "/nonexistent"], 2, "cgroup"),
        (&["--dev", "lo", "poor", "--also", "3g port=x"], 2, "no port"),
        (&["--dev", "lo", "poor", "--netns", "999999999"], 1, "network namespace"),
    ] {
        let folder = tempfile::tempdir()?;
        let output = net(&[&["apply"], arguments].concat(), &folder)?.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(code) && stderr.contains(part),
            "{arguments:?}: {:?} {stderr}",
            output.status
        );
        ensure!(output.stdout.is_empty() && look("lo")? == before, "{arguments:?} has touched something");
        ensure!(fs::read_dir(folder.path())?.next().is_none(), "{arguments:?} has left a journal");
    }
    Ok(())
}

fn no_rights() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(copy_of_binary(folder.path())?)
        .args(["net", "apply", "poor", "--dev", "lo"])
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && stderr.contains("CAP_NET_ADMIN"), "{stderr}");
    Ok(())
}

/// It is in force and measured with our own packets, but nothing of the traffic met it.
fn unused_port() -> Result<()> {
    let mut injection = Injection::start(&["--dev", "lo", "--set", "rate=8mbit", "--port", "8000"])?;
    let ended = injection.stop()?;
    ensure!(
        ended.code == Some(4) && ended.proof.contains("no packet matched `custom` on port 8000"),
        "{}",
        ended.proof
    );
    Ok(())
}

/// Said before anything is touched; where the kernel has it, the same request works.
fn without_netem() -> Result<()> {
    let before = look("lo")?;
    let folder = tempfile::tempdir()?;
    let arguments = ["apply", "--dev", "lo", "--set", "delay=5ms", "--port", "8000", "--for", "5s"];
    let output = net(&arguments, &folder)?.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_refused =
        output.status.code() == Some(1) && stderr.contains("lacks sch_netem") && stderr.contains("delay");
    let is_there = stderr.contains("in force");
    ensure!(is_refused != is_there, "{stderr}");
    ensure!(look("lo")? == before);
    Ok(())
}
