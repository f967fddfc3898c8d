//! Records of the socket room as typed values that borrow the captured bytes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;
use probe_common::{
    header::Kind,
    socket::{
        AF_INET, AF_INET6, AF_UNIX, AcceptRaw, AckedRaw, CONN_ACCEPTED, CONN_HANDSHAKE, CONN_NONBLOCK,
        CONN_RESET, CONN_SERVER, ConnRaw, DataHead, ListenRaw, PeerRaw, UnconnectedRaw,
    },
};

use crate::{
    event::{Accepted, Closed, ConnId, Event, Listen, NotConnected, Unconnected},
    probes::{
        bytes::{Bytes, Direction, Peer, Place, Role},
        wire::{DecodeError, prefix, stamp},
    },
};

/// A record of this room.
#[derive(Debug, PartialEq)]
pub enum SocketEvent<'a> {
    /// Says all there is to say.
    Event(Event),
    /// Where a connection leads.
    Peer(Peer),
    /// Bytes moved; somebody else must say what they mean.
    Bytes(Bytes<'a>),
    /// The peer of an upgraded connection acknowledged everything below a sequence number.
    Acked {
        /// The connection.
        conn: ConnId,
        /// The number.
        seq: u32,
        /// When.
        ts_ns: u64,
    },
}

impl SocketEvent<'_> {
    /// The connection that it is about; none where it is about none that came about.
    pub const fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Event(Event::Accepted(Accepted { conn, .. }) | Event::Closed(Closed { conn, .. }))
            | Self::Peer(Peer { conn, .. })
            | Self::Bytes(Bytes { conn, .. })
            | Self::Acked { conn, .. } => Some(*conn),
            Self::Event(_) => None,
        }
    }
}

/// Decodes a record of this room; none for those of others.
pub fn decode(kind: Kind, record: &[u8]) -> Result<Option<SocketEvent<'_>>, DecodeError> {
    Ok(Some(match kind {
        Kind::Accept => {
            let (raw, _) = prefix::<AcceptRaw>(record)?;
            SocketEvent::Event(Event::Accepted(Accepted {
                ts_ns: raw.header.ts_ns,
                conn: raw.conn,
                pid: raw.header.pid,
                port: port(raw.port),
                path: None,
                established_ns: stamp(raw.established_ns),
                backlog: raw.backlog,
            }))
        }
        Kind::Acked => {
            let (raw, _) = prefix::<AckedRaw>(record)?;
            SocketEvent::Acked { conn: raw.conn, seq: raw.seq, ts_ns: raw.header.ts_ns }
        }
        Kind::Recv => SocketEvent::Bytes(data(Direction::In, record)?),
        Kind::Send => SocketEvent::Bytes(data(Direction::Out, record)?),
        Kind::Closed => {
            let (raw, _) = prefix::<ConnRaw>(record)?;
            SocketEvent::Event(Event::Closed(Closed {
                ts_ns: raw.header.ts_ns,
                conn: raw.conn,
                port: port(raw.port),
                reset: raw.flags & CONN_RESET != 0,
                unaccepted: raw.flags & (CONN_ACCEPTED | CONN_HANDSHAKE) == CONN_HANDSHAKE,
                acked_ns: stamp(raw.acked_ns),
            }))
        }
        Kind::Listen => {
            let (raw, _) = prefix::<ListenRaw>(record)?;
            SocketEvent::Event(Event::Listen(Listen {
                ts_ns: raw.header.ts_ns,
                pid: raw.header.pid,
                port: port(raw.port),
            }))
        }
        Kind::Peer => SocketEvent::Peer(peer(record)?),
        Kind::Unconnected => {
            let (raw, _) = prefix::<UnconnectedRaw>(record)?;
            SocketEvent::Event(Event::Unconnected(Unconnected {
                ts_ns: raw.header.ts_ns,
                to: net(raw.family, raw.port, &raw.address).map(|to| to.to_string()).unwrap_or_default(),
                why: not_connected(raw.error),
            }))
        }
        _ => return Ok(None),
    }))
}

fn data(direction: Direction, record: &[u8]) -> Result<Bytes<'_>, DecodeError> {
    let (raw, bytes) = prefix::<DataHead>(record)?;
    let short = DecodeError::Short(record.len());
    let (head, rest) = bytes.split_at_checked(raw.head_len as usize).ok_or(short)?;
    // The ring pads records to eight bytes; what stands behind the tail is not ours.
    let tail = rest.get(..raw.tail_len as usize).ok_or(short)?;
    Ok(Bytes {
        direction,
        role: role(raw.flags),
        conn: raw.conn,
        pid: raw.header.pid,
        tid: raw.header.tid,
        port: port(raw.port),
        enter_ns: stamp(raw.enter_ns),
        exit_ns: raw.header.ts_ns,
        arrival_ns: stamp(raw.arrival_ns),
        acked_ns: stamp(raw.acked_ns),
        nonblocking: raw.flags & CONN_NONBLOCK != 0,
        end_seq: (raw.end_seq != 0).then_some(raw.end_seq),
        bytes: raw.bytes,
        head,
        tail,
    })
}

fn role(flags: u32) -> Role {
    if flags & CONN_SERVER != 0 { Role::Server } else { Role::Client }
}

fn peer(record: &[u8]) -> Result<Peer, DecodeError> {
    let (raw, _) = prefix::<PeerRaw>(record)?;
    let address = raw.address.get(..raw.len as usize).unwrap_or(&raw.address);
    let at = match raw.family {
        AF_UNIX => Some(Place::Path(path(address))),
        family => net(family, raw.port, address).map(Place::Net),
    };
    Ok(Peer {
        conn: raw.conn,
        role: role(raw.flags),
        // Of a family that is none of these there is nothing to say.
        at: at.unwrap_or(Place::Path(String::new())),
    })
}

/// The address of a TCP peer.
fn net(family: u16, port: u16, address: &[u8]) -> Option<SocketAddr> {
    let ip = match family {
        AF_INET => IpAddr::from(*address.first_chunk::<4>()?),
        // An IPv4 address in IPv6's clothes is the former to everybody who reads it.
        AF_INET6 => Ipv6Addr::from(*address.first_chunk::<16>()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What the socket's error number means.
fn not_connected(error: u32) -> NotConnected {
    match Errno::from_raw(error.cast_signed()) {
        Errno::ECONNREFUSED => NotConnected::Refused,
        Errno::ETIMEDOUT => NotConnected::TimedOut,
        // The application closed the socket, or asked for somebody else.
        Errno::UnknownErrno if error == 0 => NotConnected::GivenUp,
        _ => NotConnected::Unreachable,
    }
}

/// Printable, without the end that C gives it; an abstract name begins with a zero byte.
fn path(sun_path: &[u8]) -> String {
    let is_abstract = sun_path.first() == Some(&0);
    let text =
        if is_abstract { sun_path } else { sun_path.split(|byte| *byte == 0).next().unwrap_or_default() };
    let printable = |(at, byte): (usize, &u8)| match byte {
        0 if at == 0 => '@',
        byte if byte.is_ascii_graphic() => char::from(*byte),
        _ => '_',
    };
    text.iter().enumerate().map(printable).collect()
}

/// The wire has room for more than a port; the kernel side only writes ports.
fn port(wire: u32) -> u16 {
    u16::try_from(wire).unwrap_or(0)
}
