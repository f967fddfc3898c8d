//! Records of the socket room as typed values that borrow the captured bytes.

use probe_common::{
    header::Kind,
    socket::{
        AcceptRaw, CONN_ACCEPTED, CONN_HANDSHAKE, CONN_NONBLOCK, CONN_RESET, ConnRaw, DataHead, ListenRaw,
    },
};

use crate::{
    event::{Accepted, Closed, Event, Listen},
    probes::{
        bytes::{Bytes, Direction},
        wire::{DecodeError, prefix, stamp},
    },
};

/// A record of this room.
#[derive(Debug, PartialEq)]
pub enum SocketEvent<'a> {
    /// Says all there is to say.
    Event(Event),
    /// Bytes moved; somebody else must say what they mean.
    Bytes(Bytes<'a>),
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
                established_ns: stamp(raw.established_ns),
                backlog: raw.backlog,
            }))
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
        conn: raw.conn,
        pid: raw.header.pid,
        port: port(raw.port),
        enter_ns: stamp(raw.enter_ns),
        exit_ns: raw.header.ts_ns,
        arrival_ns: stamp(raw.arrival_ns),
        acked_ns: stamp(raw.acked_ns),
        nonblocking: raw.flags & CONN_NONBLOCK != 0,
        bytes: raw.bytes,
        head,
        tail,
    })
}

/// The wire has room for more than a port; the kernel side only writes ports.
fn port(wire: u32) -> u16 {
    u16::try_from(wire).unwrap_or(0)
}
