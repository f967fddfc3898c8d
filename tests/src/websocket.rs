//! A raw WebSocket client: frames byte for byte as the test says (RFC 6455), and a log of what they carried.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

/// A server that says nothing for this long fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// First bytes of whole frames.
pub mod first {
    /// Text.
    pub const TEXT: u8 = 0x81;
    /// Bytes.
    pub const BINARY: u8 = 0x82;
    /// Text that is compressed (RFC 7692).
    pub const COMPRESSED: u8 = 0xc1;
    /// The end.
    pub const CLOSE: u8 = 0x88;
    /// A ping.
    pub const PING: u8 = 0x89;
    /// A pong.
    pub const PONG: u8 = 0x8a;
}

/// What went over one or more sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Messages that were sent.
    pub messages_in: u64,
    /// Their payload on the wire, bytes.
    pub bytes_in: u64,
    /// Messages that were received.
    pub messages_out: u64,
    /// Their payload on the wire, bytes.
    pub bytes_out: u64,
}

impl std::ops::AddAssign for Log {
    fn add_assign(&mut self, other: Self) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
    }
}

/// A WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
    /// What went over it so far.
    pub log: Log,
}

impl Socket {
    /// Connects and shakes hands.
    pub fn open(addr: SocketAddr, path: &str, headers: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).context("failed to connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut socket = Self { stream, received: Vec::new(), log: Log::default() };
        socket.send(
            format!(
                "GET {path} HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
            )
            .as_bytes(),
        )?;
        let end = loop {
            if let Some(at) = socket.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            socket.more()?;
        };
        ensure!(socket.received.starts_with(b"HTTP/1.1 101 "), "no upgrade");
        socket.received.drain(..end);
        Ok(socket)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("failed to send")
    }

    /// Counts a message whose frames the test sends itself.
    pub const fn count(&mut self, payload_bytes: usize) {
        self.log.messages_in += 1;
        self.log.bytes_in += payload_bytes as u64;
    }

    /// Sends a message in one frame.
    pub fn message(&mut self, first: u8, payload: &[u8]) -> Result<()> {
        self.count(payload.len());
        self.send(&frame(first, payload))
    }

    /// Receives frames up to the end of a message, which is counted.
    pub fn receive(&mut self) -> Result<()> {
        let mut bytes = 0;
        loop {
            let (first, payload) = self.frame()?;
            match first & 0x0f {
                0..=2 => bytes += payload.len() as u64,
                _ => continue,
            }
            if first & 0x80 != 0 {
                self.log.messages_out += 1;
                self.log.bytes_out += bytes;
                return Ok(());
            }
        }
    }

    /// Receives a frame: its first byte and its payload.
    pub fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some((header, length)) = header(&self.received)
                && self.received.len() >= header + length
            {
                let first = self.received[0];
                let payload = self.received[header..header + length].to_vec();
                self.received.drain(..header + length);
                return Ok((first, payload));
            }
            self.more()?;
        }
    }

    /// Says goodbye, and waits until the server has hung up.
    pub fn close(mut self) -> Result<Log> {
        self.send(&frame(first::CLOSE, &[3, 232]))?;
        self.wait_for_end()?;
        Ok(self.log)
    }

    /// Vanishes without a word; the server's end of it is awaited.
    pub fn vanish(mut self) -> Result<Log> {
        self.stream.shutdown(Shutdown::Write).context("failed to shut a socket down")?;
        self.wait_for_end()?;
        Ok(self.log)
    }

    /// Waits until the server has hung up.
    pub fn wait_for_end(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        // A reset is an end as well.
        while self.stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
        Ok(())
    }

    fn more(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 18];
        match self.stream.read(&mut buffer).context("failed to receive")? {
            0 => bail!("the server hung up"),
            n => self.received.extend_from_slice(&buffer[..n]),
        }
        Ok(())
    }
}

/// A masked frame.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(n @ 0..=125), _) => bytes.push(0x80 | n),
        (_, Ok(n)) => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(n.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 0x7f);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Lengths of a server's header and its payload, once the header is there.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        n => Some((2, usize::from(n))),
    }
}
