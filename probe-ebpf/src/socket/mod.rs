//! The socket room: connections, and what the accept, receive and send calls did with them.
//!
//! Connections are keyed by the address of the kernel's `struct sock`. They are found at the end of the
//! handshake (`inet_sock_set_state`), by an arriving segment (`tcp_probe`) or by the first call on one
//! that is older than the attach, and forgotten when TCP closes them. Those of a Unix-domain listener are found by
//! accept, by arriving bytes (`sk_data_ready`) or by the first call, and forgotten when they are closed.

mod calls;
mod capture;
mod conns;
mod peer;
mod quic;
mod stats;
mod tcp;
mod unix;

pub(crate) use calls::{accept, recv, send, upgraded};
pub(crate) use capture::emit;
pub(crate) use unix::{closing, listen};
