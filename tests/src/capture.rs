//! The oracle of times: a packet capture on the loopback interface, in kernel time, by a program that
//! shares nothing with probe. What the packets mean is [`crate::wire`]'s.

use std::{
    fs::{self, File},
    io::BufReader,
    net::UdpSocket,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use pcap_file::{TsResolution, pcap::PcapReader};

use crate::{
    server::pid_of,
    wait,
    wire::{Assembly, Segment, Wire},
};

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    port: u16,
    /// Where the packet comes from that marks the end.
    end: UdpSocket,
    folder: tempfile::TempDir,
}

/// What the last packet says.
const END: &[u8] = b"the capture ends here";

impl Capture {
    /// Captures a port on loopback, from the moment this returns.
    pub fn start(port: u16) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for a capture")?;
        let end = UdpSocket::bind("127.0.0.1:0").context("failed to bind a socket")?;
        let marker = end.local_addr().context("failed to read a socket's address")?.port();
        let child = Command::new("tcpdump")
            .args(["-i", "lo", "-n", "-U", "-s", "256", "-B", "65536", "-Z", "root"])
            .args(["--time-stamp-precision=nano", "-w"])
            .arg(folder.path().join("pcap"))
            .arg(format!("tcp port {port} or udp port {marker}"))
            .stdin(Stdio::null())
            .stderr(File::create(folder.path().join("stderr"))?)
            .spawn()
            .context("failed to start tcpdump: install it (apt-get install tcpdump)")?;
        let capture = Self { child, port, end, folder };
        wait::until("tcpdump's start", wait::SOON, || {
            Ok(capture.stderr()?.contains("listening on").then_some(()))
        })?;
        Ok(capture)
    }

    fn stderr(&self) -> Result<String> {
        fs::read_to_string(self.folder.path().join("stderr")).context("failed to read tcpdump's output")
    }

    /// Ends the capture and takes it apart; a capture that misses a packet is an error.
    pub fn finish(mut self) -> Result<Wire> {
        let pid = pid_of(self.child.id())?;
        // The kernel hands packets over in blocks, up to a second late, but in order: once this one is in the
        // file, so is everything before it.
        let marker = self.end.local_addr().context("failed to read the marker socket's address")?;
        self.end.send_to(END, marker).context("failed to send the marker")?;
        wait::until("the capture of every packet", wait::SOON, || {
            let file = fs::read(self.folder.path().join("pcap")).context("failed to read the capture")?;
            let tail = &file[file.len().saturating_sub(65_536)..];
            Ok(tail.windows(END.len()).any(|bytes| bytes == END).then_some(()))
        })?;
        kill(pid, Signal::SIGINT).context("failed to end tcpdump")?;
        wait::until("the end of tcpdump", wait::SOON, || Ok(self.child.try_wait()?))?;
        let said = self.stderr()?;
        let dropped = said
            .lines()
            .filter_map(|line| line.split(" packet").next().filter(|_| line.ends_with("dropped by kernel")))
            .next_back();
        ensure!(dropped == Some("0"), "the capture is not whole:\n{said}");
        let file = File::open(self.folder.path().join("pcap")).context("failed to open the capture")?;
        let mut reader = PcapReader::new(BufReader::new(file)).context("failed to read the capture")?;
        let mut assembly = Assembly::new(self.port);
        ensure!(reader.header().ts_resolution == TsResolution::NanoSecond, "tcpdump wrote no nanoseconds");
        // Raw, because the crate refuses packets that were longer than what was kept of them.
        while let Some(packet) = reader.next_raw_packet() {
            let packet = packet.context("failed to read a packet")?;
            let ns = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac);
            if let Some(segment) = Segment::of(&packet.data) {
                assembly.add(ns, &segment);
            }
        }
        Ok(assembly.wire)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
