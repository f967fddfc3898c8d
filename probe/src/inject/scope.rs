//! Which packets a condition is for: ports of the service, addresses of the peer, protocol, control group.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The unified hierarchy.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Where it is mounted beside version 1.
const CGROUP_ROOT_HYBRID: &str = "/sys/fs/cgroup/unified";

/// Packets; an empty list or none means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Ports of the service.
    pub ports: Vec<u16>,
    /// Addresses of the other side.
    pub peers: Vec<Cidr>,
    /// Protocol.
    pub proto: Option<Proto>,
    /// Control group of the service, or of its clients where the service is remote.
    pub cgroup: Option<Cgroup>,
}

impl Scope {
    /// Every packet.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("all packets");
        }
        let mut parts = Vec::new();
        if let Some(proto) = self.proto {
            parts.push(proto.name().to_owned());
        }
        parts.extend(self.ports.iter().map(|port| format!("port {port}")));
        parts.extend(self.peers.iter().map(|peer| format!("peer {peer}")));
        parts.extend(self.cgroup.iter().map(|cgroup| format!("cgroup {}", cgroup.path.display())));
        f.write_str(&parts.join(", "))
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP
    Icmp,
}

impl Proto {
    /// Its IP protocol number; that of IPv6 differs for ICMP and is not meant.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl FromStr for Proto {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Tcp, Self::Udp, Self::Icmp]
            .into_iter()
            .find(|proto| proto.name() == text)
            .ok_or_else(|| "must be tcp, udp or icmp".to_owned())
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    addr: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// One address.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// The address, where it is only one.
    #[must_use]
    pub const fn single(&self) -> Option<IpAddr> {
        let is_one = self.prefix == if self.addr.is_ipv4() { 32 } else { 128 };
        if is_one { Some(self.addr) } else { None }
    }

    /// Masked address and mask as the classifier compares them.
    #[must_use]
    pub fn words(&self) -> ([u32; 4], [u32; 4]) {
        let prefix = u32::from(self.prefix) + if self.addr.is_ipv4() { 96 } else { 0 };
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        let addr = u128::from(mapped(self.addr)) & mask;
        (words(addr), words(mask))
    }
}

/// An address as IPv6.
fn mapped(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped(),
        IpAddr::V6(addr) => addr,
    }
}

/// In the order in which they lie in a packet, each in this machine's order of bytes.
fn words(bits: u128) -> [u32; 4] {
    let bytes = bits.to_be_bytes();
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(addr) => write!(f, "{addr}"),
            None => write!(f, "{}/{}", self.addr, self.prefix),
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be an address or a range of them, as in 10.0.0.7 or 10.0.0.0/24";
        let (addr, prefix) = text.split_once('/').map_or((text, None), |(addr, prefix)| (addr, Some(prefix)));
        let addr: IpAddr = addr.parse().map_err(|_| FORM.to_owned())?;
        let host = Self::host(addr);
        let Some(prefix) = prefix else { return Ok(host) };
        let prefix: u8 = prefix.parse().map_err(|_| FORM.to_owned())?;
        if prefix > host.prefix {
            return Err(format!("has a prefix longer than {}", host.prefix));
        }
        Ok(Self { addr, prefix })
    }
}

/// A control group of the unified hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// As the user wrote it.
    pub path: PathBuf,
    /// The kernel's id.
    pub id: u64,
    /// Depth below the root.
    pub level: u32,
}

impl Cgroup {
    /// Finds a control group by its path, from the root of the hierarchy or in the file system.
    pub fn find(path: &Path) -> Result<Self, String> {
        let roots = [CGROUP_ROOT_HYBRID, CGROUP_ROOT].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").is_file());
        let root = root.ok_or("no unified hierarchy of control groups (version 2) is mounted")?;
        let inside = roots.iter().find_map(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        let inside = inside.strip_prefix("/").unwrap_or(inside);
        let folder = root.join(inside);
        let data = std::fs::metadata(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
        if !folder.join("cgroup.procs").is_file() {
            return Err(format!("`{}` is not a control group", folder.display()));
        }
        let level = u32::try_from(inside.components().count()).unwrap_or(0);
        if level == 0 {
            return Err("the root group holds every process: leave the control group out".to_owned());
        }
        // The inode number is the id on machines with 64 bits.
        Ok(Self { path: path.to_owned(), id: data.ino(), level })
    }
}

/// The connection over which this machine is managed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Management {
    /// The other side.
    pub peer: SocketAddr,
    /// Our port.
    pub port: u16,
}

impl Management {
    /// From `SSH_CONNECTION` of this process or one that it descends from: sudo takes the variable away.
    #[must_use]
    pub fn find() -> Option<Self> {
        let mut pid = std::process::id();
        for _ in 0..64 {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let found = environment.split(|byte| *byte == 0).find_map(|entry| {
                Self::parse(std::str::from_utf8(entry).ok()?.strip_prefix("SSH_CONNECTION=")?)
            });
            if found.is_some() {
                return found;
            }
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            pid = crate::target::status_field(&status, "PPid")?.parse().ok().filter(|pid| *pid > 0)?;
        }
        None
    }

    /// Client address, client port, server address, server port.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let addr: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        let own = words.nth(1)?.parse().ok()?;
        Some(Self { peer: SocketAddr::new(addr, port), port: own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("10.0.0.7", "10.0.0.7"),
            ("10.0.0.0/24", "10.0.0.0/24"),
            ("::1", "::1"),
            ("fe80::/10", "fe80::/10"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "::/129", "host", "1.2.3.4/x"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        let (addr, mask) = "10.1.2.3/16".parse::<Cidr>().unwrap().words();
        assert_eq!(mask, [u32::MAX, u32::MAX, u32::MAX, u32::from_ne_bytes([255, 255, 0, 0])]);
        assert_eq!(addr, [0, 0, u32::from_ne_bytes([0, 0, 255, 255]), u32::from_ne_bytes([10, 1, 0, 0])]);
        assert_eq!("::/0".parse::<Cidr>().unwrap().words(), ([0; 4], [0; 4]));
    }

    #[test]
    fn management_connections() {
        let found = Management::parse("10.0.0.9 50022 10.0.0.1 22").unwrap();
        assert_eq!((found.peer.to_string().as_str(), found.port), ("10.0.0.9:50022", 22));
        assert_eq!(Management::parse("fe80::1%eth0 50022 fe80::2%eth0 22").unwrap().port, 22);
        assert_eq!(Management::parse("nonsense"), None);
    }
}
