//! The socket room: connections, and what the accept, receive and send calls did with them.
//!
//! Connections are keyed by the address of the kernel's `struct sock`. They are found at the end of the
//! handshake (`inet_sock_set_state`), by an arriving segment (`tcp_probe`) or by the first call on one
//! that is older than the attach, and forgotten when TCP closes them.

mod calls;
mod capture;
mod conns;
mod stats;
mod tcp;

pub(crate) use calls::{accept, recv, send};
