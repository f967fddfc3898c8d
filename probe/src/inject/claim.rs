//! One injector for each device: a name in the device's network namespace that the kernel gives to one process only, and
//! takes back when that ends. Also who keeps journals elsewhere, as in a container, is kept out by it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context as _, Result};

/// Held as long as an injector is at work.
#[derive(Debug)]
pub struct Claim {
    _socket: UnixDatagram,
}

impl Claim {
    /// Claims a device of the calling thread's namespace; none when somebody is at work on it.
    pub fn take(index: u32) -> Result<Option<Self>> {
        // Abstract names are each namespace's own.
        let name = SocketAddr::from_abstract_name(format!("probe-inject-{index}"));
        match UnixDatagram::bind_addr(&name.context("failed to name a claim")?) {
            Ok(socket) => Ok(Some(Self { _socket: socket })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error).context("failed to claim the device"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let index = u32::MAX - std::process::id();
        let claim = Claim::take(index).unwrap();
        assert!(claim.is_some() && Claim::take(index).unwrap().is_none());
        drop(claim);
        assert!(Claim::take(index).unwrap().is_some());
    }
}
