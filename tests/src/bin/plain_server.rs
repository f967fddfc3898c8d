//! A blocking server with a thread per connection that counts its own calls: what no tracer's numbers
//! can be better than.
//!
//! `plain-server read|recv|readv|recvmsg` prints its port, answers every GET with 200 bytes, and prints
//! its counts when its stdin ends.

use std::{
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    net::TcpListener,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use anyhow::{Context as _, Result, bail};
use nix::sys::{
    socket::{self, MsgFlags, SockFlag, SockaddrStorage},
    uio,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// accept, read, write
    Read,
    /// accept4, recvfrom, sendto
    Recv,
    /// accept, readv, writev
    Readv,
    /// accept4, recvmsg, sendmsg
    Recvmsg,
}

#[derive(Debug, Default)]
struct Counts {
    accepts: AtomicU64,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
}

fn main() -> Result<()> {
    let calls = match std::env::args().nth(1).as_deref() {
        Some("read") => Calls::Read,
        Some("recv") => Calls::Recv,
        Some("readv") => Calls::Readv,
        Some("recvmsg") => Calls::Recvmsg,
        other => bail!("which calls? read, recv, readv or recvmsg, not {other:?}"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to bind")?;
    let port = listener.local_addr()?.port();
    let counts = Arc::new(Counts::default());
    let serving = Arc::clone(&counts);
    std::thread::spawn(move || accept_all(&listener, calls, &serving));
    say(&port.to_string())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    say(&format!(
        r#"{{"accepts":{},"reads":{},"read_bytes":{},"writes":{},"written_bytes":{}}}"#,
        counts.accepts.load(SeqCst),
        counts.reads.load(SeqCst),
        counts.read_bytes.load(SeqCst),
        counts.writes.load(SeqCst),
        counts.written_bytes.load(SeqCst),
    ))
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("failed to print")
}

fn accept_all(listener: &TcpListener, calls: Calls, counts: &Arc<Counts>) {
    loop {
        let accepted = match calls {
            Calls::Read | Calls::Readv => socket::accept(listener.as_raw_fd()),
            Calls::Recv | Calls::Recvmsg => socket::accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC),
        };
        let Ok(fd) = accepted else { return };
        counts.accepts.fetch_add(1, SeqCst);
        // SAFETY: the call just returned this descriptor and nobody else knows it.
        let connection = unsafe { OwnedFd::from_raw_fd(fd) };
        let counts = Arc::clone(counts);
        std::thread::spawn(move || serve(&connection, calls, &counts));
    }
}

/// Answers requests until the peer closes. A client here never sends a request before the response to the
/// one before it, so what ends with an empty line is a request.
fn serve(connection: &OwnedFd, calls: Calls, counts: &Counts) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Ok(n) = receive(connection.as_raw_fd(), calls, &mut buffer) else { return };
        counts.reads.fetch_add(1, SeqCst);
        counts.read_bytes.fetch_add(n as u64, SeqCst);
        if n == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..n]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let mut response = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n".to_vec();
            response.resize(response.len() + 200, b'x');
            let Ok(n) = transmit(connection, calls, &response) else { return };
            counts.writes.fetch_add(1, SeqCst);
            counts.written_bytes.fetch_add(n as u64, SeqCst);
        }
    }
}

fn receive(fd: RawFd, calls: Calls, buffer: &mut [u8]) -> nix::Result<usize> {
    // SAFETY: the caller owns the descriptor and keeps it open over this call.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    match calls {
        Calls::Read => nix::unistd::read(borrowed, buffer),
        Calls::Recv => socket::recv(fd, buffer, MsgFlags::empty()),
        Calls::Readv => {
            let (first, second) = buffer.split_at_mut(24);
            uio::readv(borrowed, &mut [IoSliceMut::new(first), IoSliceMut::new(second)])
        }
        Calls::Recvmsg => {
            let (first, second) = buffer.split_at_mut(24);
            let mut vectors = [IoSliceMut::new(first), IoSliceMut::new(second)];
            socket::recvmsg::<SockaddrStorage>(fd, &mut vectors, None, MsgFlags::empty())
                .map(|message| message.bytes)
        }
    }
}

fn transmit(connection: &OwnedFd, calls: Calls, bytes: &[u8]) -> nix::Result<usize> {
    let fd = connection.as_raw_fd();
    let (head, body) = bytes.split_at(bytes.len() - 200);
    let vectors = [IoSlice::new(head), IoSlice::new(body)];
    match calls {
        Calls::Read => nix::unistd::write(connection, bytes),
        Calls::Recv => socket::send(fd, bytes, MsgFlags::empty()),
        Calls::Readv => uio::writev(connection, &vectors),
        Calls::Recvmsg => socket::sendmsg::<SockaddrStorage>(fd, &vectors, &[], MsgFlags::empty(), None),
    }
}
