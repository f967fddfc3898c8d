//! The socket room: connections, the bytes at request boundaries, statistics of the calls.

mod decode;
mod stats;

pub use decode::{SocketEvent, decode};
pub use stats::summarize;

use probe_common::rooms::Rooms;

use super::{Hook, Spec};

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "socket",
    summary: "TCP and Unix-domain connections of the tree: queue waits, bytes at request boundaries, call statistics",
    room: Rooms::SOCKET,
    needs: Rooms::NONE,
    hooks: &[
        Hook {
            program: "socket_state",
            again: Some("socket_state_again"),
            tracepoint: "inet_sock_set_state",
            perf: None,
            since: "4.17",
            purpose: "accept-queue wait, aborted connections",
        },
        Hook {
            program: "socket_segment",
            again: None,
            tracepoint: "tcp_probe",
            perf: None,
            since: "4.17",
            purpose: "the moment a request becomes readable, and its delivery",
        },
        Hook {
            program: "socket_read",
            again: None,
            tracepoint: "tcp_rcv_space_adjust",
            perf: Some("tcp"),
            since: "4.17",
            purpose: "which connection a read belongs to",
        },
        Hook {
            program: "socket_ready",
            again: None,
            tracepoint: "sk_data_ready",
            perf: None,
            since: "6.3",
            purpose: "the moment a request on a Unix-domain socket becomes readable",
        },
    ],
    functions: &[],
};
