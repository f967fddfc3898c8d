//! Echo requests of our own (ICMP), through the classes under proof: what came back, and when.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// ICMP header, IPv4 header, Ethernet header: what a payload grows by on its way through a queueing discipline.
pub const OVERHEAD_V4: usize = 8 + 20 + 14;
/// The same with IPv6.
pub const OVERHEAD_V6: usize = 8 + 40 + 14;

/// A series of requests.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Whom.
    pub to: IpAddr,
    /// Identifier.
    pub id: u16,
    /// How many; sequence numbers have 16 bits.
    pub count: u16,
    /// From one to the next.
    pub every: Duration,
    /// Bytes after the header.
    pub payload: usize,
    /// How long to wait for the last answer.
    pub patience: Duration,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its request's number.
    pub sequence: u16,
    /// There and back.
    pub round_trip: Duration,
    /// Since the first request.
    pub at: Duration,
}

/// What came of a series.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests that were sent.
    pub sent: u64,
    /// First answer to each request, in the order of arrival.
    pub answers: Vec<Answer>,
}

impl Outcome {
    /// The middle round trip.
    pub fn median(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.answers.iter().map(|answer| answer.round_trip).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// A round trip that the machine itself did not lengthen, as far as can be known: the lower tenth. What delays
    /// packets never lets one through early.
    pub fn undisturbed(&self) -> Option<Duration> {
        let mut times: Vec<_> = self.answers.iter().map(|answer| answer.round_trip).collect();
        times.sort_unstable();
        times.get(times.len() / 10).copied()
    }

    /// Requests without an answer.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answers.len() as u64)
    }
}

/// Sends a series and collects the answers.
pub fn run(series: &Series) -> Result<Outcome> {
    let is_v6 = series.to.is_ipv6();
    let (domain, protocol) =
        if is_v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))
        .context("failed to open a socket for echo requests")?;
    socket.set_recv_buffer_size(4 << 20).context("failed to size the echo socket")?;
    let to = SocketAddr::new(series.to, 0).into();
    let mut outcome = Outcome::default();
    let mut sent_at: Vec<Option<Instant>> = vec![None; usize::from(series.count)];
    let mut is_answered = vec![false; usize::from(series.count)];
    let start = Instant::now();
    let mut next = 0_u16;
    let mut last_sent = start;
    loop {
        while next < series.count && start.elapsed() >= series.every * u32::from(next) {
            let packet = request(series.id, next, series.payload, is_v6);
            sent_at[usize::from(next)] = Some(Instant::now());
            match socket.send_to(&packet, &to) {
                Ok(_) => outcome.sent += 1,
                // A full queue of our own making: that request never left.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                    sent_at[usize::from(next)] = None;
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("failed to send an echo request to {}", series.to));
                }
            }
            next += 1;
            last_sent = Instant::now();
        }
        let is_sent = next == series.count;
        if is_sent && (outcome.lost() == 0 || last_sent.elapsed() >= series.patience) {
            return Ok(outcome);
        }
        let until = if is_sent {
            series.patience.saturating_sub(last_sent.elapsed())
        } else {
            (series.every * u32::from(next)).saturating_sub(start.elapsed())
        };
        socket
            .set_read_timeout(Some(until.clamp(Duration::from_micros(100), Duration::from_millis(50))))
            .context("failed to set the echo socket's patience")?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let now = Instant::now();
        // SAFETY: the kernel has written `length` bytes to the start of the buffer, which is no shorter.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
        let Some(sequence) = answer(bytes, series.id, is_v6) else { continue };
        let Some(Some(sent)) = sent_at.get(usize::from(sequence)).copied() else { continue };
        // A duplicate is not a second answer.
        if !std::mem::replace(&mut is_answered[usize::from(sequence)], true) {
            outcome.answers.push(Answer { sequence, round_trip: now - sent, at: now - start });
        }
    }
}

fn request(id: u16, sequence: u16, payload: usize, is_v6: bool) -> Vec<u8> {
    let mut packet = vec![if is_v6 { 128 } else { 8 }, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.resize(8 + payload, 0x50);
    // The kernel makes that of ICMPv6 itself: it covers addresses.
    if !is_v6 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The sequence number of an answer to us. IPv4 sockets get the IP header too.
fn answer(bytes: &[u8], id: u16, is_v6: bool) -> Option<u16> {
    let start = if is_v6 { 0 } else { usize::from(bytes.first()? & 15) * 4 };
    let head = bytes.get(start..start + 8)?;
    let is_answer = head[0] == if is_v6 { 129 } else { 0 };
    let is_ours = u16::from_be_bytes([head[4], head[5]]) == id;
    (is_answer && is_ours).then(|| u16::from_be_bytes([head[6], head[7]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn checksums() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&request(7, 9, 33, false)), 0, "with its own sum in it");
    }

    #[test]
    fn answers_are_ours_or_not() {
        let mut bytes = vec![0x45; 20];
        bytes.extend([0, 0, 0, 0, 0x50, 0x01, 0, 9]);
        assert_eq!(answer(&bytes, 0x5001, false), Some(9));
        assert_eq!(answer(&bytes, 0x5002, false), None);
        assert_eq!(answer(&[129, 0, 0, 0, 0x50, 0x01, 0, 9], 0x5001, true), Some(9));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>, is_v6: bool) {
            let _ = answer(&bytes, 1, is_v6);
        }
    }
}
