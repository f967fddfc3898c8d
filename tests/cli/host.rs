//! Machines and users that lack something, and `doctor`, which says so.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use probe_tests::probe::{binary, copy_of_binary};

use crate::{
    Suite,
    bench::{Answer, Kernel, Target, end_of, probe, refused},
};

/// `nobody`, on every Linux.
const NOBODY: u32 = 65534;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add_root("host::not_root", not_root);
    suite.add_root("host::missing_btf", missing_btf);
    suite.add_root("host::unmounted_tracefs", unmounted_tracefs);
    suite.add_root("host::doctor_of_a_target", doctor_of_a_target);
    suite.add_root("host::doctor_of_no_target", doctor_of_no_target);
    suite.add("host::doctor_without_a_reader", doctor_without_a_reader);
}

/// The program where another user can reach it, run as that user.
fn as_nobody(folder: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(copy_of_binary(folder)?);
    command.args(arguments).current_dir("/").stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
    Ok(command)
}

/// One sentence that names all that is missing, and two ways to get it.
fn not_root() -> Result<()> {
    let mut target = Target::start()?;
    let pid = target.pid().to_string();
    let folder = tempfile::tempdir()?;
    let words = [
        "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH missing (uid 65534)",
        "sudo",
        "setcap",
    ];
    let answer = refused(&mut as_nobody(folder.path(), &["attach", "--pid", &pid])?, 1, &words)?;
    ensure!(answer.lines("error: ").len() == 1, "{answer:?}");

    let doctor = end_of(&mut as_nobody(folder.path(), &["doctor"])?)?;
    ensure!(doctor.code == Some(1) && doctor.stderr.is_empty(), "{doctor:?}");
    for word in ["CAP_BPF", "remedy: run probe with sudo", "attach cannot work here"] {
        ensure!(doctor.stdout.contains(word), "{word}: {doctor:?}");
    }
    target.check()
}

fn missing_btf() -> Result<()> {
    let mut target = Target::start()?;
    let pid = target.pid().to_string();
    let words = ["no type information (BTF)", "`/nonexistent/vmlinux` is missing", "CONFIG_DEBUG_INFO_BTF=y"];
    refused(&mut probe(&["attach", "--pid", &pid, "--btf", "/nonexistent/vmlinux"])?, 1, &words)?;
    refused(&mut probe(&["attach", "--pid", &pid, "--btf", "/dev/zero"])?, 1, &["it is not BTF"])?;
    let doctor = end_of(&mut probe(&["doctor", "--btf", "/nonexistent/vmlinux"])?)?;
    ensure!(doctor.code == Some(1) && doctor.stdout.contains("no type information (BTF)"), "{doctor:?}");
    target.check()
}

/// Raw tracepoints do without tracefs: attach works, doctor only mentions it.
fn unmounted_tracefs() -> Result<()> {
    let mut target = Target::start()?;
    let pid = target.pid().to_string();
    let folder = tempfile::tempdir()?;
    let attach = ["attach", "--pid", &pid, "--duration", "100ms", "--inconclusive", "pass", "--out", "run"];
    let unmounted = |arguments: &[&str]| -> Result<Answer> {
        const SCRIPT: &str = "for fs in /sys/kernel/debug/tracing /sys/kernel/debug /sys/kernel/tracing; do
                umount -q $fs; done; if grep -q tracefs /proc/mounts; then exit 99; fi; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(binary()?).args(arguments);
        end_of(command.current_dir(&folder))
    };
    let before = Kernel::look()?;
    let run = unmounted(&attach)?;
    ensure!(run.code == Some(0) && !run.stdout.is_empty(), "{run:?}");
    ensure!(folder.path().join("run/report.json").exists());
    before.nothing_left()?;
    let doctor = unmounted(&["doctor"])?;
    ensure!(doctor.code == Some(0) && doctor.stdout.contains("tracefs is not mounted"), "{doctor:?}");
    target.check()
}

const FUNCTIONS: &str = "takes probes on functions";
const NO_TLS: &str = "has loaded no OpenSSL";

/// Every hook is really tried, the target's facts are told, and nothing stays.
fn doctor_of_a_target() -> Result<()> {
    let mut target = Target::start()?;
    let (pid, port) = (target.pid().to_string(), target.port.to_string());
    let before = Kernel::look()?;
    for choice in [["--pid", &pid], ["--port", &port]] {
        let doctor = end_of(&mut probe(&["doctor", choice[0], choice[1]])?)?;
        ensure!(doctor.code == Some(0) && doctor.stderr.is_empty(), "{doctor:?}");
        let (process, listens) = (format!("{pid} "), format!("127.0.0.1:{port}, held by {pid}"));
        // Where a line ends depends on the length of the checkout's path.
        let text = doctor.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in [
            "sys_exit",
            "sched_process_fork",
            "attach can work here",
            "2 threads",
            FUNCTIONS,
            NO_TLS,
            &process,
            &listens,
        ] {
            ensure!(text.contains(word), "`{word}`: {doctor:?}");
        }
        // Only a path may go beyond the line.
        let is_too_wide =
            |line: &str| line.chars().count() > 80 && !line.contains(env!("CARGO_BIN_EXE_plain-server"));
        ensure!(!doctor.stdout.lines().any(is_too_wide), "{}", doctor.stdout);
    }
    before.nothing_left()?;
    target.check()
}

fn doctor_of_no_target() -> Result<()> {
    let doctor = end_of(&mut probe(&["doctor", "--pid", "4194305"])?)?;
    ensure!(doctor.code == Some(1) && doctor.stdout.contains("no process has the id 4194305"), "{doctor:?}");
    Ok(())
}

/// `probe doctor | head -0` ends as without the pipe.
fn doctor_without_a_reader() -> Result<()> {
    let expected = end_of(&mut probe(&["doctor"])?)?.code;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = probe(&["doctor"])?.stdout(writer).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    ensure!(output.status.code() == expected, "{output:?}");
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
