//! The oracle of times: a packet capture on the loopback interface, in kernel time, by a program that
//! shares nothing with probe. What the packets mean is [`crate::wire`]'s.

use std::{
    fs::{self, File},
    io::BufReader,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use pcap_file::pcap::PcapReader;

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
    folder: tempfile::TempDir,
}

impl Capture {
    /// Captures a port on loopback, from the moment this returns.
    pub fn start(port: u16) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder for a capture")?;
        let child = Command::new("tcpdump")
            .args(["-i", "lo", "-n", "-s", "256", "-B", "65536", "-Z", "root"])
            .args(["--time-stamp-precision=nano", "-w"])
            .arg(folder.path().join("pcap"))
            .arg(format!("tcp port {port}"))
            .stdin(Stdio::null())
            .stderr(File::create(folder.path().join("stderr"))?)
            .spawn()
            .context("failed to start tcpdump: install it (apt-get install tcpdump)")?;
        let capture = Self { child, port, folder };
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
        // The kernel hands packets over in blocks, up to a second late: tcpdump's own counts tell when it
        // has them all. On loopback the kernel counts each packet twice (out and in), libpcap keeps one.
        let mut asked = 0;
        wait::until("the capture of every packet", wait::SOON, || {
            let counts: Vec<(u64, u64)> = self.stderr()?.lines().filter_map(counts_of).collect();
            if counts.last().is_some_and(|(captured, received)| captured * 2 == *received && *captured > 0) {
                return Ok(Some(()));
            }
            if counts.len() >= asked {
                kill(pid, Signal::SIGUSR1).context("failed to ask tcpdump for its counts")?;
                asked = counts.len() + 1;
            }
            Ok(None)
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
        while let Some(packet) = reader.next_packet() {
            let packet = packet.context("failed to read a packet")?;
            let ns = u64::try_from(packet.timestamp.as_nanos()).context("a time stamp beyond u64")?;
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

/// `tcpdump: 10 packets captured, 12 packets received by filter, 0 packets dropped by kernel`
fn counts_of(line: &str) -> Option<(u64, u64)> {
    let (before, after) = line.split_once(" packets captured, ")?;
    let captured = before.rsplit(' ').next()?.parse().ok()?;
    Some((captured, after.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::counts_of;

    /// tcpdump's own counts are read from its answer to SIGUSR1.
    #[test]
    fn reads_counts() {
        let line = "tcpdump: 10 packets captured, 12 packets received by filter, 0 packets dropped by kernel";
        assert_eq!(counts_of(line), Some((10, 12)));
        assert_eq!(counts_of("listening on lo"), None);
    }
}
