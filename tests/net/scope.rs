//! For whom a condition is: peers, control groups, several at once, the management connection, another namespace.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use probe_tests::{host, server::python, wait};
use serde_json::Value;

use crate::{
    Suite,
    bench::{self, Injection, goodput_between, look, round_trip, udp_echo},
    pair::{HERE, Pair, THERE},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("scope::fifty_viewers_and_the_rest", viewers);
    suite.add("scope::a_control_group", control_group);
    suite.add("scope::the_management_connection", management);
    suite.add("scope::a_containers_device_from_outside", container);
}

/// What `--json` says of one condition.
fn condition(proof: &str, index: usize) -> Result<Value> {
    let proof: Value = serde_json::from_str(proof).with_context(|| format!("no JSON: {proof}"))?;
    Ok(proof["conditions"][index].clone())
}

/// Fifty peers share one link, ten another one, and the rest is clean: each packet counted where it belongs.
fn viewers() -> Result<()> {
    let echo = udp_echo("0.0.0.0:0")?;
    let to = SocketAddr::from(([127, 0, 0, 1], echo.port()));
    let folder = tempfile::tempdir()?;
    let narrow = folder.path().join("narrow.toml");
    fs::write(&narrow, "name = \"narrow\"\nrate = \"800kbit\"\nqueue = 200\n")?;
    let narrow = narrow.to_str().context("not UTF-8")?;
    let port = echo.port().to_string();
    let also = format!("{narrow} port={port} peer=127.0.2.0/24");
    let arguments =
        ["--dev", "lo", narrow, "--port", &port, "--peer", "127.0.1.0/24", "--also", &also, "--json"];
    let mut injection = Injection::start(&arguments)?;
    let client = |addr: [u8; 4]| -> Result<UdpSocket> {
        let client = UdpSocket::bind(SocketAddr::from((addr, 0)))?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        client.connect(to)?;
        Ok(client)
    };
    let some =
        |net: u8, count: u8| (1..=count).map(|host| client([127, 0, net, host])).collect::<Result<Vec<_>>>();
    let (fifty, ten, rest) = (some(1, 50)?, some(2, 10)?, client([127, 0, 3, 1])?);
    let start = Instant::now();
    for viewer in fifty.iter().chain(&ten) {
        viewer.send(&[1; 1200])?;
    }
    // While all of these wait, the rest does not.
    let clean = Instant::now();
    rest.send(&[1; 1200])?;
    rest.recv(&mut [0; 2048])?;
    let clean = clean.elapsed();
    for viewer in ten.iter().chain(&fifty) {
        viewer.recv(&mut [0; 2048]).context("no answer")?;
    }
    // 50 packets of 1242 bytes at 100 000 bytes/s, less what goes at once; the last one on credit.
    let least = Duration::from_secs_f64((49.0 * 1242.0 - 3200.0) / 1e5);
    ensure!(start.elapsed() >= least, "{:?}, at least {least:?}", start.elapsed());
    ensure!(clean < least / 2, "{clean:?} for who is in neither scope");
    let ended = injection.stop()?;
    for (index, packets) in [(0, 100), (1, 20)] {
        let found = condition(&ended.proof, index)?;
        ensure!(found["packets"] == packets && found["overflowed"] == 0, "{found:#}");
    }
    Ok(())
}

/// A control group of this test's own.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").is_file());
        let path = root
            .context("no unified hierarchy is mounted")?
            .join(format!("probe-test-{}", std::process::id()));
        fs::create_dir(&path).context("failed to make a control group")?;
        Ok(Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let path = self.0.clone();
        // Its processes have been killed; the kernel may still be taking them away.
        let _gone =
            wait::until("an empty group", wait::SOON, || Ok(fs::remove_dir(&path).is_ok().then_some(())));
    }
}

/// A UDP server that answers each packet, as a process.
struct Echo(Child, SocketAddr);

impl Echo {
    fn start() -> Result<Self> {
        let script = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('127.0.0.1', 0))\n\
                      print(s.getsockname()[1], flush=True)\nwhile True:\n  b, a = s.recvfrom(4096)\n  s.sendto(b, a)\n";
        let mut child = Command::new(python()?).args(["-c", script]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        Ok(Self(child, SocketAddr::from(([127, 0, 0, 1], line.trim().parse()?))))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Both ways of a group's packets: those from it by the group, those to it by the flows that they showed.
fn control_group() -> Result<()> {
    let group = Group::new()?;
    let (inside, outside) = (Echo::start()?, Echo::start()?);
    // Sockets belong to the group in which they were made.
    drop(inside);
    let path = group.0.to_str().context("not UTF-8")?.to_owned();
    let procs = format!("{path}/cgroup.procs");
    let inside = thread::spawn(move || -> Result<Echo> {
        // The whole process moves, makes the server, and moves back.
        let home = fs::read_to_string("/proc/self/cgroup")?;
        let home = home.lines().find_map(|line| line.strip_prefix("0::")).context("no group")?.to_owned();
        fs::write(&procs, std::process::id().to_string())?;
        let echo = Echo::start();
        let root = Path::new(&procs).ancestors().nth(2).context("no root")?.to_owned();
        let back = root.join(home.trim_start_matches('/')).join("cgroup.procs");
        fs::write(back, std::process::id().to_string())?;
        echo
    });
    let inside = inside.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    let arguments = ["--dev", "lo", "--set", "rate=80kbit", "--cgroup", &path, "--json"];
    let mut injection = Injection::start(&arguments)?;
    round_trip(inside.1, 6, 1200)?;
    let (slow, fast) = (round_trip(inside.1, 5, 1200)?, round_trip(outside.1, 21, 1200)?);
    ensure!(slow > Duration::from_millis(100) && fast < slow / 5, "{slow:?} {fast:?}");
    let found = condition(&injection.stop()?.proof, 0)?;
    // The first packet to the group comes before it has shown its flow: twice, for two clients.
    ensure!(found["packets"] == 2 * (6 + 5) - 2, "{found:#}");
    drop(inside);
    drop(group);
    Ok(())
}

/// How long a byte takes there and back on a connection, the middle of five.
fn ping_pong(stream: &mut TcpStream) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        stream.write_all(&[1; 1200])?;
        stream.read_exact(&mut [0; 1200])?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[2])
}

/// Two connections to one port; over one of them this machine is managed.
fn management() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut buffer = [0; 1200];
                while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
            });
        }
    });
    let connect = || -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let (mut managed, mut other) = (connect()?, connect()?);
    let connection = format!("127.0.0.1 {} 127.0.0.1 {port}", managed.local_addr()?.port());
    let arguments = ["--dev", "lo", "--set", "rate=80kbit", "--port", &port.to_string()];
    let mut injection = Injection::start_in(&arguments, &[("SSH_CONNECTION", &connection)])?;
    ping_pong(&mut other)?;
    let (slow, fast) = (ping_pong(&mut other)?, ping_pong(&mut managed)?);
    ensure!(slow > Duration::from_millis(100) && fast < slow / 5, "{slow:?} {fast:?}");
    injection.stop()?;
    Ok(())
}

/// A container's side of a veth, called eth0, from the namespace outside: rates up and down, and everything as it was.
fn container() -> Result<()> {
    let pair = Pair::new()?;
    let pid = pair.pid();
    let (before, before_here) = (pair.look_there()?, look(HERE.0)?);
    let listener = pair.inside(|| Ok(TcpListener::bind((THERE.1, 0))?))?;
    let port = listener.local_addr()?.port().to_string();
    for netns in [pid.clone(), format!("/proc/{pid}/ns/net")] {
        let arguments = [
            "--netns",
            &netns,
            "--dev",
            THERE.0,
            "--set",
            "up.rate=16mbit",
            "--set",
            "down.rate=8mbit",
            "--port",
            &port,
            "--echo",
            HERE.1,
            "--json",
        ];
        let mut injection = Injection::start(&arguments)?;
        ensure!(look(HERE.0)? == before_here, "the outer device was touched");
        let up = goodput_between(&listener, false, 500_000, 4_000_000)? / bench::TCP_SHARE;
        ensure!((up / 2e6 - 1.0).abs() < 0.05, "up: {up} bytes/s, asked 2000000");
        let down = goodput_between(&listener, true, 300_000, 2_000_000)? / bench::TCP_SHARE;
        ensure!((down / 1e6 - 1.0).abs() < 0.05, "down: {down} bytes/s, asked 1000000");
        let ended = injection.stop()?;
        ensure!(host::is_emulated() || ended.code == Some(0), "{} {}", ended.proof, ended.stderr);
        ensure!(pair.look_there()? == before, "{before}\nbecame\n{}", pair.look_there()?);
    }
    Ok(())
}
