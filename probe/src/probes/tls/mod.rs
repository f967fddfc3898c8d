//! The tls room: from cipher text on connections, which the socket room hands up, and plain text at the borders of a TLS
//! library, which its own kernel half hands up, to plain text on connections.
//!
//! All of the user half is pure: records in, bytes out, with bounded memory whatever comes.

mod conn;
mod decode;
mod session;

pub use decode::{Call, Plain, decode};
use probe_common::rooms::Rooms;
pub use session::{Encrypted, Sessions};

use super::{Function, Spec};

/// See [`Spec`].
pub const SPEC: Spec = Spec {
    id: "tls",
    summary: "requests inside TLS, where the target's TLS library is OpenSSL",
    room: Rooms::TLS,
    needs: Rooms::SOCKET,
    hooks: &[],
    functions: &[
        function("SSL_do_handshake", &["tls_handshake_exit", "tls_handshake_enter"]),
        function("SSL_read", &["tls_read_exit", "tls_enter"]),
        function("SSL_read_ex", &["tls_read_exit", "tls_enter_ex"]),
        function("SSL_write", &["tls_write_exit", "tls_enter"]),
        function("SSL_write_ex", &["tls_write_exit", "tls_enter_ex"]),
    ],
};

const fn function(symbol: &'static str, programs: &'static [&'static str]) -> Function {
    Function { symbol, programs, purpose: "requests inside TLS" }
}
