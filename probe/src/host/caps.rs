//! Effective capabilities (capabilities(7)), those that matter here.

use std::fmt;

/// A capability, by its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cap {
    /// Bypass file permissions.
    DacOverride = 1,
    /// Bypass read permissions: `/proc/PID/fd` of another user is a directory for its owner only.
    DacReadSearch = 2,
    /// Change network devices and their queueing disciplines.
    NetAdmin = 12,
    /// Send packets of one's own making.
    NetRaw = 13,
    /// Look at other users' processes (`/proc/PID/fd/*`, `maps`, `exe`, `ns/*`).
    SysPtrace = 19,
    /// Includes `CAP_BPF` and `CAP_PERFMON`; also needed to enter another network namespace and to switch
    /// the run-time statistics of kernel programs on.
    SysAdmin = 21,
    /// Raise `RLIMIT_MEMLOCK`, against which maps count before 5.11.
    SysResource = 24,
    /// Load tracing programs and let them read kernel memory, 5.8 and later.
    Perfmon = 38,
    /// `bpf(2)`, 5.8 and later.
    Bpf = 39,
}

impl Cap {
    /// The name as `setcap` wants it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "cap_dac_override",
            Self::DacReadSearch => "cap_dac_read_search",
            Self::NetAdmin => "cap_net_admin",
            Self::NetRaw => "cap_net_raw",
            Self::SysPtrace => "cap_sys_ptrace",
            Self::SysAdmin => "cap_sys_admin",
            Self::SysResource => "cap_sys_resource",
            Self::Perfmon => "cap_perfmon",
            Self::Bpf => "cap_bpf",
        }
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().to_uppercase())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps(u64);

impl Caps {
    /// Every one.
    pub const ALL: Self = Self(u64::MAX);

    /// Parses the hexadecimal mask of `/proc/PID/status`.
    pub fn parse(mask: &str) -> Option<Self> {
        u64::from_str_radix(mask, 16).ok().map(Self)
    }

    /// The set with one more.
    #[must_use]
    pub const fn with(self, cap: Cap) -> Self {
        Self(self.0 | 1 << cap as u8)
    }

    /// The set with one less.
    #[must_use]
    pub const fn without(self, cap: Cap) -> Self {
        Self(self.0 & !(1 << cap as u8))
    }

    /// Is it allowed, by itself or by a capability that includes it?
    pub const fn allows(self, cap: Cap) -> bool {
        match cap {
            Cap::Bpf | Cap::Perfmon => has_either(self.0, cap, Cap::SysAdmin),
            Cap::DacReadSearch => has_either(self.0, cap, Cap::DacOverride),
            _ => has_either(self.0, cap, cap),
        }
    }
}

const fn has_either(mask: u64, one: Cap, other: Cap) -> bool {
    (mask >> one as u8 | mask >> other as u8) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let root_of_a_vm = Caps::parse("000001fffeffffff").unwrap();
        assert!(root_of_a_vm.allows(Cap::Bpf) && !root_of_a_vm.allows(Cap::SysResource));
        let admin = Caps::default().with(Cap::SysAdmin);
        assert!(admin.allows(Cap::Bpf) && admin.allows(Cap::Perfmon) && !admin.allows(Cap::SysPtrace));
        assert!(Caps::default().with(Cap::DacOverride).allows(Cap::DacReadSearch));
        assert!(!Caps::ALL.without(Cap::SysPtrace).allows(Cap::SysPtrace));
        assert_eq!(Caps::parse("x"), None);
        assert_eq!(Cap::SysPtrace.to_string(), "CAP_SYS_PTRACE");
    }
}
