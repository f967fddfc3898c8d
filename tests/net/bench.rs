//! A namespace of one's own, the program in it, and plain sockets as oracles.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    ops::Range,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_tests::{probe::binary, wait};

/// Payload per byte on the wire at an MTU of 1500: TCP with time stamps, IP and Ethernet headers.
pub(crate) const TCP_SHARE: f64 = 1448.0 / 1514.0;

/// Measuring takes seconds, and many more on an emulated machine.
pub(crate) const APPLIED: Duration = Duration::from_mins(2);

/// Runs a test on a thread in a new network namespace, whose lo is up.
pub(crate) fn isolated<T: Send + 'static>(test: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let inside = move || -> Result<T> {
        unshare(CloneFlags::CLONE_NEWNET).context("failed to make a network namespace")?;
        run("ip", &["link", "set", "lo", "up"])?;
        test()
    };
    thread::spawn(inside).join().map_err(|_| anyhow!("the test panicked"))?
}

/// Runs a program to its end and gives its output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("failed to run {program}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {}: {stderr}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Everything about a device that an injector may change, in the words of `tc` and `ip`.
pub(crate) fn look(device: &str) -> Result<String> {
    let mut text = run("tc", &["-d", "qdisc", "show", "dev", device])?;
    text += &run("tc", &["filter", "show", "dev", device, "ingress"]).unwrap_or_default();
    text += &run("ip", &["-o", "-d", "link", "show"])?;
    Ok(text)
}

/// The kernel can hold programs on devices by links (tcx), from 6.6 on.
pub(crate) fn has_tcx() -> Result<bool> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    Ok((numbers.next(), numbers.next()) >= (Some(6), Some(6)))
}

/// `probe net` with arguments.
pub(crate) fn net(arguments: &[&str], state: &tempfile::TempDir) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.arg("net").args(arguments).arg("--state").arg(state.path()).stdin(Stdio::null());
    command.env_remove("RUST_LOG").env_remove("SSH_CONNECTION");
    Ok(command)
}

/// A condition in force.
pub(crate) struct Injection {
    child: Child,
    pub(crate) state: tempfile::TempDir,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) proof: String,
    pub(crate) stderr: String,
}

impl Injection {
    /// Applies a condition and waits until it has been measured.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_in(arguments, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_in(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let all = [&["apply"], arguments].concat();
        let child = net(&all, &state)?
            .envs(environment.iter().copied())
            .stdout(fs::File::create(state.path().join("stdout"))?)
            .stderr(fs::File::create(state.path().join("stderr"))?)
            .spawn()?;
        let mut injection = Self { child, state };
        wait::until("the condition", APPLIED, || {
            if injection.stderr()?.contains("in force") {
                return Ok(Some(()));
            }
            match injection.child.try_wait()? {
                None => Ok(None),
                Some(status) => bail!("probe ended ({status}): {}", injection.stderr()?),
            }
        })?;
        Ok(injection)
    }

    pub(crate) fn stderr(&self) -> Result<String> {
        fs::read_to_string(self.path("stderr")).context("failed to read the log")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    pub(crate) fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).context("failed to signal probe")
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> Result<Ended> {
        let status = wait::until("the end of probe", APPLIED, || Ok(self.child.try_wait()?))?;
        Ok(Ended {
            code: status.code(),
            proof: fs::read_to_string(self.path("stdout"))?,
            stderr: self.stderr()?,
        })
    }

    /// Interrupts it, as Ctrl-C does.
    pub(crate) fn stop(&mut self) -> Result<Ended> {
        self.signal(Signal::SIGINT)?;
        self.ended()
    }

    /// Its guard's process: its only child.
    pub(crate) fn guard(&self) -> Result<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(path).context("failed to list children")?;
        Ok(Pid::from_raw(children.trim().parse().context("not one guard")?))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It has ended already, or the test failed.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Another network namespace, as long as its only process lives.
pub(crate) struct Namespace(Child);

impl Namespace {
    pub(crate) fn new() -> Result<Self> {
        let namespace = Self(Command::new("unshare").args(["-n", "sleep", "600"]).spawn()?);
        let pid = namespace.pid();
        wait::until("the other namespace", wait::SOON, || {
            let ours = fs::read_link("/proc/thread-self/ns/net")?;
            let theirs = fs::read_link(format!("/proc/{pid}/ns/net"))?;
            let is_sleeping = fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() == "sleep";
            Ok((ours != theirs && is_sleeping).then_some(()))
        })?;
        Ok(namespace)
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A UDP server that answers each packet.
pub(crate) fn udp_echo(addr: &str) -> Result<SocketAddr> {
    let server = UdpSocket::bind(addr)?;
    let addr = server.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            // A lost answer is part of what is measured.
            let _lost = server.send_to(&buffer[..length], from);
        }
    });
    Ok(addr)
}

/// The middle of `count` round trips of one UDP packet.
pub(crate) fn round_trip(to: SocketAddr, count: usize, payload: usize) -> Result<Duration> {
    Ok(round_trips(to, count, payload)?[count / 2])
}

/// The lower tenth of these: a delay is never shorter than it was made, and what a busy or emulated machine adds to some
/// of them is not its doing.
pub(crate) fn undisturbed(to: SocketAddr, count: usize, payload: usize) -> Result<Duration> {
    Ok(round_trips(to, count, payload)?[count / 10])
}

/// Round trips, the shortest first.
fn round_trips(to: SocketAddr, count: usize, payload: usize) -> Result<Vec<Duration>> {
    let client = UdpSocket::bind("0.0.0.0:0")?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        client.send_to(&vec![1; payload], to)?;
        client.recv_from(&mut [0; 2048]).context("no answer")?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Bytes per second that a TCP receiver gets, and how many: after `skip` bytes, over `bytes` more.
pub(crate) fn goodput(listener: &TcpListener, skip: usize, bytes: usize) -> Result<f64> {
    goodput_between(listener, false, skip, bytes)
}

/// The same, from who accepts to who connects where it is `reverse`d.
pub(crate) fn goodput_between(
    listener: &TcpListener,
    reverse: bool,
    skip: usize,
    bytes: usize,
) -> Result<f64> {
    let connected = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let (mut from, mut stream) = if reverse { (accepted, connected) } else { (connected, accepted) };
    let sender = thread::spawn(move || {
        let block = vec![7; 16 << 10];
        // Ends when the receiver has enough and closes.
        while from.write_all(&block).is_ok() {}
    });
    let mut buffer = vec![0; 64 << 10];
    let mut read = |wanted: usize| -> Result<usize> {
        let mut got = 0;
        while got < wanted {
            let length = stream.read(&mut buffer)?;
            ensure!(length > 0, "the sender ended");
            got += length;
        }
        Ok(got)
    };
    read(skip)?;
    let start = Instant::now();
    let got = read(bytes)?;
    let rate = got as f64 / start.elapsed().as_secs_f64();
    drop(stream);
    sender.join().map_err(|_| anyhow!("the sender panicked"))?;
    Ok(rate)
}

/// Of `count` UDP packets to a socket, how many arrive.
pub(crate) fn arrivals(server: UdpSocket, count: u32) -> Result<u32> {
    let addr = server.local_addr()?;
    let client = UdpSocket::bind("0.0.0.0:0")?;
    server.set_read_timeout(Some(Duration::from_secs(2)))?;
    let receiver = thread::spawn(move || {
        let mut got = 0;
        while server.recv_from(&mut [0; 64]).is_ok() {
            got += 1;
        }
        got
    });
    for number in 0..count {
        client.send_to(&number.to_be_bytes(), addr)?;
        // sleep: a full receive buffer would lose packets that the condition did not
        thread::sleep(Duration::from_micros(200));
    }
    receiver.join().map_err(|_| anyhow!("the receiver panicked"))
}

/// What [`repeated_share`] is where 2 % of the packets are lost: each lost segment is sent again, that one may be lost
/// too, and a probe of the tail may be one more.
pub(crate) const TWO_PERCENT_REPEATED: Range<f64> = 0.012..0.03;

/// Of the segments of 8 MB to a service, the share that was sent again, as the sender's namespace counts them.
pub(crate) fn repeated_share(listener: &TcpListener) -> Result<f64> {
    let repeated = || Ok::<_, anyhow::Error>(counter("snmp", "Tcp: ", "RetransSegs")? as f64);
    let before = repeated()?;
    goodput(listener, 0, 8_000_000)?;
    let repeated = repeated()? - before;
    Ok(repeated / (8e6 / 1448.0 + repeated))
}

/// A number of `/proc/net/netstat` or `snmp`, by its names.
pub(crate) fn counter(file: &str, row: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(row));
    let (names, values) = (rows.next().context("no names")?, rows.next().context("no values")?);
    let at = names.split_whitespace().position(|found| found == name).context("no such counter")?;
    Ok(values.split_whitespace().nth(at).context("no value")?.parse()?)
}

/// The binomial 99 % interval of losses among `n` packets (its normal form; n is in the thousands).
pub(crate) fn is_plausible(lost: u32, n: u32, share: f64) -> bool {
    let (lost, n) = (f64::from(lost), f64::from(n));
    (lost - n * share).abs() <= 2.576 * (n * share * (1.0 - share)).sqrt() + 0.5
}
