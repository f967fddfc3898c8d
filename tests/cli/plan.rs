//! `probe run` where the machine is against it, and where nobody wants to hear of it.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use probe_tests::probe::binary;

use crate::{
    Suite,
    bench::{Answer, Kernel, Target, end_of, probe},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add_root("plan::a_full_disk_costs_no_report", a_full_disk_costs_no_report);
    suite.add_root("plan::quiet_is_quiet", quiet_is_quiet);
    suite.add_root("plan::readiness_of_a_run", readiness_of_a_run);
}

/// Requests of the load, by a shell, which says of each that it was made.
const REQUESTS: u32 = 5;

/// A profile whose only phase makes the requests and asks for so many.
fn profile(folder: &Path, port: u16, wanted: u32) -> Result<String> {
    let load = format!(
        r#"for n in $(seq {REQUESTS}); do exec 3<>/dev/tcp/127.0.0.1/{port};
           printf "GET / HTTP/1.1\r\nhost: t\r\n\r\n" >&3; read -r line <&3; exec 3>&-; echo "$n $line"; done
           exit 0"#
    );
    let path = folder.join(format!("{wanted}.toml"));
    let text = format!(
        "name = 'plan'\n[[phase]]\nname = 'a'\nduration = '20s'\nload = ['bash', '-c', '''{load}''']\n\
         [[objective]]\nid = 'answers'\nmetric = 'requests'\ntarget = {wanted}\nlimit = {wanted}\n"
    );
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// No byte of a run can be written, nor one of its load's output: the report still comes on stdout, with its verdict.
fn a_full_disk_costs_no_report() -> Result<()> {
    // A mount of the child's own: there is an inode for every file, but no block.
    const SCRIPT: &str = "mount -t tmpfs -o size=64k,nr_inodes=50 none \"$1\" || exit 99
        dd if=/dev/zero of=\"$1/filler\" bs=4k 2>/dev/null; shift; exec \"$@\"";
    let mut target = Target::start()?;
    let before = Kernel::look()?;
    let (folder, disk) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for (wanted, code, verdict) in [(REQUESTS, 0, "PASS"), (REQUESTS + 1, 3, "FAIL")] {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(disk.path()).arg(binary()?);
        command.args(["run", "--record", "--pid", &target.pid().to_string()]);
        command.args(["--profile", &profile(folder.path(), target.port, wanted)?]);
        let answer = end_of(command.arg("--out").arg(disk.path().join("run")))?;
        ensure!(answer.code == Some(code), "{answer:?}");
        ensure!(answer.stdout.starts_with(verdict), "{answer:?}");
        ensure!(answer.stdout.contains(&format!("{REQUESTS} requests")), "{answer:?}");
        for words in ["failed to save", "report.json", "the recording is incomplete", "No space left"] {
            ensure!(answer.stderr.contains(words), "`{words}`: {answer:?}");
        }
    }
    before.nothing_left()?;
    target.check()
}

/// With `--quiet` a run that goes well says nothing but its report; without, it says where it stands.
fn quiet_is_quiet() -> Result<()> {
    let target = Target::start()?;
    let folder = tempfile::tempdir()?;
    let profile = profile(folder.path(), target.port, REQUESTS)?;
    let run = |out: &str, more: &[&str]| -> Result<Answer> {
        let pid = target.pid().to_string();
        let arguments = [&["run", "--pid", &pid, "--profile", &profile, "--out", out][..], more].concat();
        let answer = end_of(probe(&arguments)?.current_dir(&folder))?;
        ensure!(answer.code == Some(0) && answer.stdout.starts_with("PASS"), "{answer:?}");
        Ok(answer)
    };
    let quiet = run("quiet", &["--quiet"])?;
    // What a machine lacks is told all the same.
    ensure!(quiet.stderr.lines().all(|line| line.contains(" WARN ")), "{quiet:?}");
    let plain = run("plain", &[])?;
    for words in ["attached to pid", "phase 1 of 1", "run saved"] {
        ensure!(plain.stderr.contains(words), "`{words}`: {plain:?}");
    }
    Ok(())
}

/// What is missing for a run is told before it, in the form of the audit; with nothing in the way the code is 0.
fn readiness_of_a_run() -> Result<()> {
    let mut target = Target::start()?;
    let before = Kernel::look()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("p.toml");
    let doctor = |text: &str| -> Result<(Option<i32>, String)> {
        fs::write(&path, text)?;
        let mut command = probe(&["doctor", "--pid", &target.pid().to_string(), "--profile"])?;
        let answer = end_of(command.arg(&path).current_dir(&folder))?;
        let page = answer.stdout.split_once("## Load Test Readiness").map(|(_, page)| page.to_owned());
        ensure!(page.is_some() && answer.stderr.is_empty(), "{answer:?}");
        Ok((answer.code, page.unwrap_or_default()))
    };
    let objectives = "[[objective]]\nid = 'rate'\nmetric = 'rate'\ntarget = '1/s'\nlimit = '1/s'\n\
                      [[objective]]\nid = 'p99'\nmetric = 'latency.p99'\ntarget = '1s'\nlimit = '1s'\n";
    let phases = "[[phase]]\nname = 'warm-up'\nduration = '5s'\njudged = false\n\
                  [[phase]]\nname = 'degraded'\nduration = '60s'\n";
    let (code, page) = doctor(&format!(
        "name = 'x'\n[load]\ncommand = ['no-such-load']\n{phases}net = '3g dev=absent0'\n{objectives}"
    ))?;
    ensure!(code == Some(1), "{code:?} {page}");
    for (level, words) in [
        ("BLOCKER", "the load program `no-such-load` is not on this machine"),
        ("WARNING", "network condition of phase `degraded` is not available: "),
        ("WARNING", "objective `p99` needs 368 samples; `rate` asks for 60"),
        ("WARNING", "no earlier run with this profile"),
    ] {
        let mut findings = page.split("[READINESS: ").filter(|finding| finding.starts_with(level));
        let is_told = findings.any(|finding| {
            let parts =
                ["Category: ", "The Gap:", "Impact if Not Addressed:", "Remediation:", "Verification:"];
            finding.contains(words) && parts.iter().all(|part| finding.contains(part))
        });
        ensure!(is_told, "{level} `{words}`: {page}");
    }
    ensure!(page.contains("`absent0`") && page.contains("Readiness Score: "), "{page}");
    // A rate needs nothing that a kernel could lack.
    fs::write(folder.path().join("narrow.toml"), "name = 'narrow'\nrate = '1mbit'\n")?;
    let narrow = folder.path().join("narrow.toml");
    let (code, page) = doctor(&format!("name = 'x'\n{phases}net = '{}'\n{objectives}", narrow.display()))?;
    ensure!(code == Some(0) && !page.contains("is not available"), "{code:?} {page}");
    before.nothing_left()?;
    target.check()
}
