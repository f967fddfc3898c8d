//! Requests of a block device that nobody else uses, against the kernel's own counters and the clock of who waits for
//! them; and writes that the kernel holds back, because this device may have few dirty pages only.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{
    probe::{Outcome, Probe},
    report::Dist,
    say::say,
    server::python,
    skip,
    stats::{Tolerance, percentile, sorted},
};
use serde::Deserialize;

use crate::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    if suite.ladder {
        // Emulated machines have no loop devices.
        return;
    }
    let has_loops = Path::new("/dev/loop-control").exists();
    let obstacle = suite.obstacle.clone().or_else(|| (!has_loops).then(|| skip::lacks("loop devices")));
    let usual = std::mem::replace(&mut suite.obstacle, obstacle);
    suite.add("block::every_request", every_request);
    suite.add("block::writes_held_back", writes_held_back);
    suite.obstacle = usual;
}

/// Reads and writes past the page cache, or fills it, as it is told: a line each, answered with its own times.
const SCRIPT: &str = "
import ctypes, mmap, os, sys, time
home = sys.argv[1]
buffer = mmap.mmap(-1, 1 << 20)
direct = os.path.join(home, 'direct')
folder = os.open(home, os.O_RDONLY)
sync = lambda: ctypes.CDLL(None).syncfs(folder)
with open(direct, 'wb') as file:
    file.write(bytes(32 << 20))
sync()
device = os.stat(home).st_dev
print(os.major(device), os.minor(device), flush=True)
for line in sys.stdin:
    what, n = line.split()
    took = []
    def timed(call, *arguments):
        begin = time.monotonic_ns()
        call(*arguments)
        took.append(time.monotonic_ns() - begin)
    if what == 'fill':
        fd = os.open(os.path.join(home, 'filled'), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        piece = bytes(1 << 20)
        for _ in range(int(n)):
            timed(os.write, fd, piece)
    else:
        fd = os.open(direct, os.O_RDWR | os.O_DIRECT)
        call = os.preadv if what == 'read' else os.pwritev
        for number in range(int(n)):
            timed(call, fd, [buffer], number % 32 << 20)
    os.close(fd)
    sync()
    print(*took, flush=True)
";

/// A script on a file system of its own. Both are gone with the script: it alone sees the mount, and with the mount the
/// kernel frees the loop device.
struct Disk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// `major:minor`.
    device: String,
    _home: tempfile::TempDir,
}

impl Disk {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let (image, place) = (home.path().join("image"), home.path().join("place"));
        fs::File::create(&image)?.set_len(256 << 20)?;
        fs::create_dir(&place)?;
        let made = Command::new("/usr/sbin/mkfs.ext4")
            .args(["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0"])
            .arg(&image)
            .status()?;
        ensure!(made.success(), "no file system: {made}");
        let mount = "mount -t ext4 -o loop \"$1\" \"$2\" && exec \"$3\" -c \"$4\" \"$2\"";
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", mount, "sh"])
            .args([image.as_os_str(), place.as_os_str(), python()?.as_ref(), SCRIPT.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut disk = Self { child, stdin, stdout, device: String::new(), _home: home };
        disk.device = disk.hear()?.replace(' ', ":");
        Ok(disk)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "it cannot be mounted");
        Ok(line.trim().to_owned())
    }

    /// Does something so many times; its own times, seconds, ascending.
    fn order(&mut self, what: &str, n: u32) -> Result<Vec<f64>> {
        writeln!(self.stdin, "{what} {n}")?;
        let line = self.hear()?;
        let times: Result<Vec<f64>, _> =
            line.split(' ').map(|ns| ns.parse::<f64>().map(|ns| ns / 1e9)).collect();
        Ok(sorted(times?))
    }

    /// The kernel's counters of the device: reads, sectors, milliseconds, the same of writes, and flushes with their
    /// milliseconds.
    fn counters(&self) -> Result<[u64; 8]> {
        let (major, minor) = self.device.split_once(':').context("no device")?;
        let all = fs::read_to_string("/proc/diskstats")?;
        let lines = all.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let line = lines.into_iter().find(|line| line.first() == Some(&major) && line.get(1) == Some(&minor));
        let line = line.context("no such device in /proc/diskstats")?;
        let number = |at: usize| line.get(at).context("a short line")?.parse::<u64>().context("no number");
        Ok([
            number(3)?,
            number(5)?,
            number(6)?,
            number(7)?,
            number(9)?,
            number(10)?,
            number(18)?,
            number(19)?,
        ])
    }

    fn bdi(&self, what: &str, value: &str) -> Result<()> {
        let place = format!("/sys/class/bdi/{}/{what}", self.device);
        fs::write(&place, value).with_context(|| format!("failed to write `{place}`"))
    }

    fn probed(&mut self, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<Outcome> {
        let probe = Probe::attach(self.child.id(), &[])?;
        run(self)?;
        let outcome = probe.finish()?;
        outcome.report.nothing_lost()?;
        Ok(outcome)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The device is the next one's: as it was. It has no limits where nothing could be set.
        let _unset = self.bdi("strict_limit", "0");
        let _unset = self.bdi("max_ratio", "100");
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[derive(Debug, Deserialize)]
struct Found {
    reads: u64,
    writes: u64,
    requests: Vec<Requests>,
}

#[derive(Debug, Deserialize)]
struct Requests {
    op: String,
    #[serde(rename = "requests")]
    count: u64,
    errors: u64,
    bytes: u64,
    latency_s: Dist,
    queue_s: Dist,
}

impl Found {
    fn of(&self, op: &str) -> Result<&Requests> {
        self.requests
            .iter()
            .find(|requests| requests.op == op)
            .with_context(|| format!("no {op} in {self:?}"))
    }
}

/// Counts and bytes are the kernel's, and so is the time in all; who waits for a request waits as long as it takes.
fn every_request() -> Result<()> {
    /// The kernel's counters are in milliseconds, and are taken a little after the end that is told: seconds per request.
    const AFTER_S: f64 = 20e-6;
    let mut disk = Disk::new()?;
    let before = disk.counters()?;
    let mut own = Vec::new();
    let outcome = disk.probed(|disk| {
        own.push(("write", disk.order("write", 60)?));
        own.push(("read", disk.order("read", 100)?));
        Ok(())
    })?;
    let after = disk.counters()?;
    let [reads, read_sectors, read_ms, writes, write_sectors, write_ms, flushes, flush_ms] =
        std::array::from_fn(|at| after[at] - before[at]);
    ensure!(reads >= 100 && writes >= 60, "{reads} reads, {writes} writes");
    let found: Vec<Found> = outcome.report.at("/disks")?;
    let found = found.iter().find(|found| (found.reads, found.writes) == (reads, writes));
    let found = found.with_context(|| {
        format!("{reads} reads and {writes} writes are not in {:?}", outcome.report.0["disks"])
    })?;
    // The kernel counts what only asks for a flush as a write as well.
    ensure!(found.of("flush")?.count == flushes, "{flushes} flushes: {found:?}");
    let (writes, write_ms) = (writes - flushes, write_ms.saturating_sub(flush_ms));
    for (op, count, sectors, ms) in
        [("read", reads, read_sectors, read_ms), ("write", writes, write_sectors, write_ms)]
    {
        let got = found.of(op)?;
        ensure!((got.count, got.bytes, got.errors) == (count, sectors * 512, 0), "{count} {op}s: {got:?}");
        ensure!(got.latency_s.count == count && got.queue_s.count == count, "{got:?}");
        let in_all = Tolerance { relative: 0.02, absolute: AFTER_S.mul_add(count as f64, 0.002) };
        say(&format!("    {op}: {count} in {ms} ms, got {:.3} ms", got.latency_s.total() * 1e3));
        in_all.agree(&format!("{op}s in all"), ms as f64 / 1e3, got.latency_s.total())?;
        ensure!(got.queue_s.total() <= got.latency_s.total(), "{got:?}");
        let own = own.iter().find(|(what, _)| *what == op).map(|(_, times)| times).context("no own times")?;
        let got_p50 = got.latency_s.p50.context("no median")?;
        let (half, most) = (percentile(own, 0.5), percentile(own, 1.0));
        say(&format!("    {op}: own p50 {:.3} ms, request {:.3} ms", half * 1e3, got_p50 * 1e3));
        // The buckets of the kernel side are 6.25 % wide.
        ensure!(got_p50 <= half * 1.07, "{op}: {got_p50} s, who waited {half} s");
        ensure!(got.latency_s.largest()? <= most * 1.07, "{op}: {got:?}, who waited {most} s");
    }
    ensure!(outcome.stdout.contains("DISK REQUESTS"), "{}", outcome.stdout);
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Stalls {
    calls: u64,
    stall_s: Dist,
}

/// No write is held back where there is room, many are where there is nearly none, and these for as long as they take more
/// than the copying of their bytes.
fn writes_held_back() -> Result<()> {
    /// What the copying of a MiB may take on a busy machine.
    const COPYING_S: f64 = 0.015;
    let mut disk = Disk::new()?;
    let free = disk.probed(|disk| disk.order("fill", 24).map(drop))?;
    ensure!(free.report.0.get("write_stalls").is_none(), "{}", free.report.0["write_stalls"]);
    disk.bdi("strict_limit", "1")?;
    disk.bdi("max_ratio", "1")?;
    // Kernels before 6.2 have nothing smaller than one part in a hundred.
    let is_small = disk.bdi("max_bytes", "4194304").is_ok();
    let n = if is_small { 64 } else { 160 };
    let mut own = Vec::new();
    let held = disk.probed(|disk| {
        own = disk.order("fill", n)?;
        Ok(())
    })?;
    let stalls: Stalls = held.report.at("/write_stalls")?;
    let most: f64 = own.iter().sum();
    let least: f64 = own.iter().map(|took| (took - COPYING_S).max(0.0)).sum();
    let got = stalls.stall_s.total();
    say(&format!("    held back {} writes for {got:.3} s, own {least:.3} to {most:.3} s", stalls.calls));
    ensure!(stalls.calls == stalls.stall_s.count && (1..=u64::from(n)).contains(&stalls.calls), "{stalls:?}");
    ensure!(least * 0.95 <= got && got <= most, "{stalls:?}, own {own:?}");
    ensure!(stalls.stall_s.largest()? <= percentile(&own, 1.0), "{stalls:?}, own {own:?}");
    ensure!(held.stdout.contains("WRITES HELD BACK"), "{}", held.stdout);
    Ok(())
}
