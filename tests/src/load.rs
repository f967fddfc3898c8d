//! A closed loop of many connections on one thread: it costs little beside the server that it drives, and
//! its log is exact.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    client::{Entry, Request},
    http::Parser,
    stats,
};

/// No answer at all for this long fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where.
    pub addr: SocketAddr,
    /// How many connections at a time.
    pub connections: usize,
    /// How many requests in all.
    pub requests: usize,
    /// Keep connections, or open one for each request.
    pub keep_alive: bool,
    /// Pause of a connection between a response and its next request.
    pub think: Duration,
    /// Sent in turn.
    pub mix: Vec<Request>,
    /// Grows by one with each response.
    pub answered: Counter,
}

/// A count that another thread can watch.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Its value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// One per request, in the order of their ends.
    pub entries: Vec<Entry>,
    /// Connections opened.
    pub connections: u64,
    mix: Vec<String>,
}

/// The client's own sums for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Responses read to their ends.
    pub requests: u64,
    /// Of these by status class: "2xx".
    pub statuses: BTreeMap<String, u64>,
    /// Bytes of the requests.
    pub sent: u64,
    /// Bytes of the responses.
    pub received: u64,
}

impl Log {
    /// Sums by endpoint.
    #[must_use]
    pub fn sums(&self) -> BTreeMap<String, Sums> {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for entry in &self.entries {
            let sum = sums.entry(self.mix[entry.request].clone()).or_default();
            sum.requests += 1;
            *sum.statuses.entry(format!("{}xx", entry.status / 100)).or_default() += 1;
            sum.sent += entry.sent;
            sum.received += entry.received;
        }
        sums
    }

    /// Latencies of an endpoint in seconds, sorted.
    #[must_use]
    pub fn latencies(&self, endpoint: &str) -> Vec<f64> {
        let ours = self.entries.iter().filter(|entry| self.mix[entry.request] == endpoint);
        stats::sorted(ours.map(Entry::latency_s))
    }

    /// Requests per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let start = self.entries.iter().map(|entry| entry.start).min();
        let end = self.entries.iter().map(|entry| entry.end).max();
        match (start, end) {
            (Some(start), Some(end)) if end > start => {
                self.entries.len() as f64 / (end - start).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

struct Slot {
    stream: Option<TcpStream>,
    request: usize,
    written: usize,
    parser: Parser,
    start: Instant,
    /// When the next request is due; none while one is under way or nothing is left to send.
    due: Option<Instant>,
}

struct Run<'a> {
    load: &'a Load,
    poll: Poll,
    slots: Vec<Slot>,
    log: Log,
    begun: usize,
    buffer: Vec<u8>,
}

impl Load {
    /// `requests` GETs over `connections` kept connections, as fast as the server answers.
    #[must_use]
    pub fn fast(addr: SocketAddr, connections: usize, requests: usize, mix: Vec<Request>) -> Self {
        Self {
            addr,
            connections,
            requests,
            keep_alive: true,
            think: Duration::ZERO,
            mix,
            answered: Counter::default(),
        }
    }

    /// The same with a connection for each request.
    #[must_use]
    pub fn fresh(self) -> Self {
        Self { keep_alive: false, ..self }
    }

    /// The same with a pause between requests.
    #[must_use]
    pub fn thinking(self, think: Duration) -> Self {
        Self { think, ..self }
    }

    /// Sends everything and reads every response.
    pub fn run(&self) -> Result<Log> {
        ensure!(!self.mix.is_empty() && self.connections > 0, "nothing to send");
        let now = Instant::now();
        let mut run = Run {
            load: self,
            poll: Poll::new().context("failed to make an epoll instance")?,
            slots: Vec::new(),
            log: Log {
                mix: self.mix.iter().map(|request| request.endpoint.clone()).collect(),
                ..Log::default()
            },
            begun: 0,
            buffer: vec![0; 256 * 1024],
        };
        run.log.entries.reserve(self.requests);
        for _ in 0..self.connections.min(self.requests) {
            run.slots.push(Slot {
                stream: None,
                request: 0,
                written: 0,
                parser: Parser::new(false),
                start: now,
                due: Some(now),
            });
        }
        run.all()?;
        Ok(run.log)
    }
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(self.slots.len());
        self.begin_due()?;
        while self.log.entries.len() < self.load.requests {
            let due = self.slots.iter().filter_map(|slot| slot.due).min();
            let wait = due.map_or(PATIENCE, |due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other.context("failed to wait for sockets")?,
            }
            ensure!(
                due.is_some() || !events.is_empty(),
                "no response within {PATIENCE:?}, {} of {} requests answered",
                self.log.entries.len(),
                self.load.requests
            );
            for event in &events {
                self.serve(event.token().0)?;
            }
            self.begin_due()?;
        }
        Ok(())
    }

    fn begin_due(&mut self) -> Result<()> {
        if self.slots.iter().all(|slot| slot.due.is_none()) {
            return Ok(());
        }
        let now = Instant::now();
        for index in 0..self.slots.len() {
            if self.slots[index].due.is_some_and(|due| due <= now) {
                self.begin(index)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, index: usize) -> Result<()> {
        self.slots[index].due = None;
        if self.begun == self.load.requests {
            return Ok(());
        }
        if self.slots[index].stream.is_none() {
            let stream = self.connect(index)?;
            self.slots[index].stream = Some(stream);
        }
        let slot = &mut self.slots[index];
        slot.request = self.begun % self.load.mix.len();
        slot.written = 0;
        slot.parser = Parser::new(self.load.mix[slot.request].to_head);
        slot.start = Instant::now();
        self.begun += 1;
        self.write(index)
    }

    fn connect(&mut self, index: usize) -> Result<TcpStream> {
        let addr = self.load.addr;
        let stream = std::net::TcpStream::connect_timeout(&addr, PATIENCE)
            .with_context(|| format!("failed to connect to {addr}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll
            .registry()
            .register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)
            .context("failed to register a socket")?;
        self.log.connections += 1;
        Ok(stream)
    }

    fn write(&mut self, index: usize) -> Result<()> {
        let slot = &mut self.slots[index];
        let Some(stream) = &mut slot.stream else { return Ok(()) };
        let bytes = &self.load.mix[slot.request].bytes;
        while slot.written < bytes.len() {
            match stream.write(&bytes[slot.written..]) {
                Ok(n) => slot.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("failed to send a request"),
            }
        }
        Ok(())
    }

    /// A socket is ready. The events are edges, but a socket that gave a whole response has no more to
    /// give, so nothing is read only to see that.
    fn serve(&mut self, index: usize) -> Result<()> {
        self.write(index)?;
        loop {
            let slot = &mut self.slots[index];
            if slot.due.is_some() {
                return Ok(());
            }
            let Some(stream) = &mut slot.stream else { return Ok(()) };
            let reply = match stream.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("failed to receive a response"),
                Ok(0) => Some(slot.parser.end()?),
                Ok(n) => slot.parser.feed(&self.buffer[..n])?,
            };
            let Some(reply) = reply else { continue };
            let end = Instant::now();
            self.log.entries.push(Entry {
                request: slot.request,
                status: reply.status,
                start: slot.start,
                end,
                sent: slot.written as u64,
                received: reply.bytes,
            });
            self.load.answered.0.fetch_add(1, Ordering::Relaxed);
            if reply.close || !self.load.keep_alive {
                slot.stream = None;
            }
            slot.due = Some(end + self.load.think);
            if self.load.think.is_zero() {
                return self.begin(index);
            }
            return Ok(());
        }
    }
}
