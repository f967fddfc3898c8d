//! A scripted HTTP/1.1 client: one connection, blocking, byte for byte what the test says.
//! Much traffic at once is [`crate::load`]'s.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, SockRef, Socket, Type};

use crate::http::{Parser, Reply};

/// A server that says nothing for this long fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The endpoint that a report should name.
    pub endpoint: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// To HEAD there is no body in the response.
    pub to_head: bool,
}

impl Request {
    /// `method path`, with these extra header lines (each with its line end) and this body.
    #[must_use]
    pub fn new(endpoint: &str, method: &str, target: &str, headers: &str, body: &[u8]) -> Self {
        let length = if body.is_empty() && method != "POST" {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let mut bytes =
            format!("{method} {target} HTTP/1.1\r\nhost: test\r\n{headers}{length}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Self { endpoint: endpoint.to_owned(), bytes, to_head: method == "HEAD" }
    }

    /// `GET path`, an endpoint without parameters.
    #[must_use]
    pub fn get(target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        Self::new(&format!("GET {path}"), "GET", target, "", &[])
    }

    /// `GET target`, which a report should name `endpoint`.
    #[must_use]
    pub fn get_as(endpoint: &str, target: &str) -> Self {
        Self::new(endpoint, "GET", target, "", &[])
    }

    /// `POST path` with a body.
    #[must_use]
    pub fn post(path: &str, body: &[u8]) -> Self {
        Self::new(&format!("POST {path}"), "POST", path, "", body)
    }
}

/// One request and its response, as the client saw them.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which request of the mix.
    pub request: usize,
    /// Final status.
    pub status: u16,
    /// Before the first byte was sent.
    pub start: Instant,
    /// After the last byte was received.
    pub end: Instant,
    /// Bytes of the request.
    pub sent: u64,
    /// Bytes of the response.
    pub received: u64,
}

impl Entry {
    /// Seconds from send to done.
    #[must_use]
    pub fn latency_s(&self) -> f64 {
        (self.end - self.start).as_secs_f64()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
}

impl Conn {
    /// Connects.
    pub fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)
            .with_context(|| format!("failed to connect to {addr}"))?;
        Self::of(stream)
    }

    /// Connects with a small receive buffer, so that the server soon can't send.
    pub fn open_narrow(addr: SocketAddr, receive_buffer: usize) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_recv_buffer_size(receive_buffer)?;
        socket.connect(&addr.into()).with_context(|| format!("failed to connect to {addr}"))?;
        Self::of(socket.into())
    }

    /// Connects to a Unix-domain listener.
    pub fn open_unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("failed to connect to `{}`", path.display()))?;
        // From here on it is a stream like any other.
        Self::with_patience(TcpStream::from(OwnedFd::from(stream)))
    }

    fn of(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Self::with_patience(stream)
    }

    fn with_patience(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("failed to send")
    }

    /// Reads some bytes; 0 is the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.stream.read(buffer) {
                // Of a process that was stopped for a moment: with a time limit on it a read is not begun anew.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.context("failed to receive"),
            }
        }
    }

    /// Reads one response to its end.
    pub fn reply(&mut self, to_head: bool) -> Result<Reply> {
        let mut parser = Parser::new(to_head);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n = self.read(&mut buffer)?;
            if n == 0 {
                return parser.end();
            }
            if let Some(reply) = parser.feed(&buffer[..n])? {
                return Ok(reply);
            }
        }
    }

    /// Sends a request and reads the response.
    pub fn exchange(&mut self, request: &Request) -> Result<Entry> {
        let start = Instant::now();
        self.send(&request.bytes)?;
        let reply = self.reply(request.to_head)?;
        let sent = request.bytes.len() as u64;
        Ok(Entry {
            request: 0,
            status: reply.status,
            start,
            end: Instant::now(),
            sent,
            received: reply.bytes,
        })
    }

    /// Waits until the server closes its side.
    pub fn wait_for_close(&mut self) -> Result<()> {
        match self.read(&mut [0; 64])? {
            0 => Ok(()),
            n => bail!("{n} bytes came where the end of the connection was expected"),
        }
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write).context("failed to shut down")
    }

    /// Ends the connection with a reset.
    pub fn reset(self) -> Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).context("failed to set SO_LINGER")
    }
}
