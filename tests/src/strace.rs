//! The oracle of call counts on a server that we did not write: `strace` on the same run. It slows the
//! server down, so only counts are taken from it, never times.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};

use crate::{host, server::pid_of, wait};

/// A running strace.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    folder: tempfile::TempDir,
}

/// Calls of one kind on TCP sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// That returned.
    pub calls: u64,
    /// Of these with EAGAIN.
    pub would_block: u64,
    /// Of these failed otherwise.
    pub errors: u64,
    /// Bytes moved.
    pub bytes: u64,
}

/// What it saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// accept, accept4
    pub accept: Calls,
    /// read, readv, recvfrom, recvmsg
    pub recv: Calls,
    /// write, writev, sendto, sendmsg
    pub send: Calls,
}

impl Strace {
    /// Traces a process with its threads and children, from now on.
    pub fn attach(pid: u32) -> Result<Self> {
        let calls = "trace=accept,accept4,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg";
        Self::start(pid, &["-f", "-yy", "-s", "0", "-e", "signal=none", "-e", calls])
    }

    fn start(pid: u32, options: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for strace")?;
        let child = Command::new("strace")
            .args(options)
            .arg("-o")
            .arg(folder.path().join("calls"))
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(File::create(folder.path().join("stderr"))?)
            .spawn()
            .context("failed to start strace: install it (apt-get install strace)")?;
        let strace = Self { child, folder };
        wait::until("strace's attach", wait::SOON, || {
            let tracer = format!("TracerPid:\t{}", strace.child.id());
            let threads = host::threads(pid);
            let said = fs::read_to_string(strace.folder.path().join("stderr"))?;
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let all = said.contains("attached") && status.contains(&tracer) && threads > 0;
            Ok(all.then_some(()))
        })?;
        Ok(strace)
    }

    /// Detaches it and sums up.
    pub fn finish(self) -> Result<Seen> {
        Ok(sum(&self.text()?))
    }

    fn text(mut self) -> Result<String> {
        kill(pid_of(self.child.id())?, Signal::SIGINT).context("failed to end strace")?;
        wait::until("the end of strace", wait::SOON, || Ok(self.child.try_wait()?))?;
        let text = fs::read_to_string(self.folder.path().join("calls"))?;
        ensure!(!text.is_empty(), "strace saw nothing");
        Ok(text)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A running strace that measures one call.
#[derive(Debug)]
pub struct Timed(Strace);

impl Timed {
    /// Traces a process with its threads and children, from now on.
    pub fn attach(pid: u32, call: &str) -> Result<Self> {
        Strace::start(pid, &["-f", "-T", "-e", "signal=none", "-e", &format!("trace={call}")]).map(Self)
    }

    /// Detaches it and gives the time of each call, seconds.
    pub fn finish(self) -> Result<Vec<f64>> {
        let text = self.0.text()?;
        // `12 fsync(5) = 0 <0.004512>`
        Ok(text.lines().filter_map(|line| line.strip_suffix('>')?.rsplit_once('<')?.1.parse().ok()).collect())
    }
}

/// `12 recvfrom(7<TCP:[127.0.0.1:80->127.0.0.1:9]>, ""..., 262144, 0, NULL, NULL) = 35`; a call that was
/// interrupted in the middle stands on two lines, of which the first has the arguments, the second the result.
fn sum(text: &str) -> Seen {
    let mut seen = Seen::default();
    let mut unfinished = std::collections::BTreeMap::<&str, String>::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, begun.to_owned());
            continue;
        }
        let whole = if rest.starts_with("<... ") {
            let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
            unfinished.remove(thread).unwrap_or_default() + end
        } else {
            rest.to_owned()
        };
        count(&whole, &mut seen);
    }
    seen
}

fn count(call: &str, seen: &mut Seen) {
    let Some((name, arguments)) = call.split_once('(') else { return };
    let first = arguments.split(">,").next().unwrap_or_default();
    if !first.contains("<TCP") {
        return;
    }
    let calls = match name {
        "accept" | "accept4" => &mut seen.accept,
        "read" | "readv" | "recvfrom" | "recvmsg" => &mut seen.recv,
        "write" | "writev" | "sendto" | "sendmsg" => &mut seen.send,
        _ => return,
    };
    let Some((_, result)) = call.rsplit_once(" = ") else { return };
    calls.calls += 1;
    if result.starts_with("-1 ") {
        let again = result.contains("EAGAIN");
        calls.would_block += u64::from(again);
        calls.errors += u64::from(!again);
    }
    if !name.starts_with("accept") {
        calls.bytes += result.split([' ', '<']).next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, sum};

    /// Calls on TCP sockets are counted by their results, interrupted ones once, other files never.
    #[test]
    fn sums_calls() {
        let seen = sum("\
7 accept4(6<TCP:[127.0.0.1:80]>, {sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 9<TCP:[127.0.0.1:80->127.0.0.1:9]>
7 accept4(6<TCP:[127.0.0.1:80]>, 0x7ff, [16], SOCK_CLOEXEC) = -1 EAGAIN (Resource temporarily unavailable)
7 recvfrom(9<TCP:[127.0.0.1:80->127.0.0.1:9]>, \"\"..., 262144, 0, NULL, NULL) = 35
7 read(9<TCPv6:[[::1]:80->[::1]:9]>,  <unfinished ...>
8 read(3<anon_inode:[eventfd]>, \"\"..., 1024) = 8
7 <... read resumed>\"\"..., 256000) = 40
7 write(9<TCP:[127.0.0.1:80->127.0.0.1:9]>, \"\"..., 120) = 120
7 write(9<TCP:[127.0.0.1:80->127.0.0.1:9]>, \"\"..., 120) = -1 EPIPE (Broken pipe)
7 sendto(4<UNIX-STREAM:[1->2]>, \"\"..., 1, 0, NULL, 0) = 1
");
        assert_eq!(seen.accept, Calls { calls: 2, would_block: 1, errors: 0, bytes: 0 });
        assert_eq!(seen.recv, Calls { calls: 2, would_block: 0, errors: 0, bytes: 75 });
        assert_eq!(seen.send, Calls { calls: 2, would_block: 0, errors: 1, bytes: 120 });
    }
}
