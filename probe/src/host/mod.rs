//! The machine as a value: what decides whether kernel programs can be loaded here. [`Host::read`] looks,
//! everything else only judges, so tests make a `Host` by hand.

mod caps;
mod gaps;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use caps::{Cap, Caps};
pub use gaps::{Gap, Severity, prerequisites};

use crate::target::{procfs, status_field};

/// Inodes that the first namespaces have on every kernel (`enum init_ns_ino`, include/uapi/linux/nsfs.h).
const INIT_PID_NS: u64 = 0xEFFF_FFFC;
const INIT_USER_NS: u64 = 0xEFFF_FFFD;
/// First two bytes of BTF, in the machine's byte order (Documentation/bpf/btf.rst).
const BTF_MAGIC: u16 = 0xEB9F;

/// What we are and where we run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Kernel release, as `uname -r` says it.
    pub release: String,
    /// Machine, as `uname -m` says it.
    pub arch: String,
    /// Processors that we may use.
    pub n_cpus: usize,
    /// Effective user.
    pub uid: u32,
    /// The program file, for the `setcap` line.
    pub exe: PathBuf,
    /// Effective capabilities.
    pub caps: Caps,
    /// Where type information was looked for.
    pub btf_path: PathBuf,
    /// The kernel's type information.
    pub btf: Btf,
    /// Kernel lockdown; none when the kernel has none or does not say.
    pub lockdown: Option<Lockdown>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<i64>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
    /// `kernel.kptr_restrict`.
    pub kptr_restrict: Option<i64>,
    /// `net.core.bpf_jit_enable`.
    pub bpf_jit_enable: Option<i64>,
    /// Where tracefs is mounted.
    pub tracefs: Option<PathBuf>,
    /// We are in the first pid namespace, whose numbers kernel programs see.
    pub is_init_pid_ns: bool,
    /// We are in the first user namespace, in which alone capabilities count for `bpf(2)`.
    pub is_init_user_ns: bool,
    /// Signs of a container, for people.
    pub container_hints: Vec<String>,
}

/// State of the kernel's type information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Btf {
    /// It is there.
    Present {
        /// Its size.
        bytes: u64,
    },
    /// There is no such file.
    Missing,
    /// The file is there but is not (readable) BTF.
    Unusable(String),
}

/// Kernel lockdown (`kernel_lockdown(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Off.
    None,
    /// The kernel may not be changed; reading it is allowed, which is all we do.
    Integrity,
    /// Nor may it be read: `bpf_probe_read_kernel` is refused.
    Confidentiality,
}

impl Host {
    /// Looks at this machine. What cannot be read stays unknown; a kernel that cannot be asked for its name
    /// is the only error.
    pub fn read(btf_path: &Path) -> io::Result<Self> {
        let uname = nix::sys::utsname::uname()?;
        let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_first = |kind, first| procfs::own_namespace(kind).map_or(true, |inode| inode == first);
        Ok(Self {
            name: text(uname.nodename()),
            release: text(uname.release()),
            arch: text(uname.machine()),
            n_cpus: std::thread::available_parallelism().map_or(1, usize::from),
            uid: nix::unistd::geteuid().as_raw(),
            exe: std::env::current_exe().unwrap_or_else(|_| "probe".into()),
            caps: status_field(&status, "CapEff").and_then(Caps::parse).unwrap_or_default(),
            btf_path: btf_path.to_owned(),
            btf: read_btf(btf_path),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .as_deref()
                .and_then(parse_lockdown),
            unprivileged_bpf_disabled: sysctl("kernel/unprivileged_bpf_disabled"),
            perf_event_paranoid: sysctl("kernel/perf_event_paranoid"),
            kptr_restrict: sysctl("kernel/kptr_restrict"),
            bpf_jit_enable: sysctl("net/core/bpf_jit_enable"),
            tracefs: fs::read_to_string("/proc/self/mounts").ok().as_deref().and_then(find_tracefs),
            is_init_pid_ns: is_first("pid", INIT_PID_NS),
            is_init_user_ns: is_first("user", INIT_USER_NS),
            container_hints: container_hints(),
        })
    }

    /// Major and minor number of the kernel; (0, 0) when the release is not understood.
    pub fn version(&self) -> (u32, u32) {
        version_of(&self.release)
    }
}

/// Major and minor number of a kernel release; (0, 0) when it is not understood.
pub fn version_of(release: &str) -> (u32, u32) {
    parse_version(release).unwrap_or_default()
}

/// Major and minor number of the running kernel's release; (0, 0) when it is not understood.
pub fn own_version() -> (u32, u32) {
    nix::sys::utsname::uname()
        .map(|system| version_of(&system.release().to_string_lossy()))
        .unwrap_or_default()
}

/// The first two numbers of a release: `6.18.44-fc` is (6, 18).
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn read_btf(path: &Path) -> Btf {
    let read = || -> io::Result<(u64, [u8; 2])> {
        let mut file = File::open(path)?;
        let mut magic = [0; 2];
        file.read_exact(&mut magic)?;
        Ok((file.metadata()?.len(), magic))
    };
    match read() {
        Ok((bytes, magic)) if u16::from_ne_bytes(magic) == BTF_MAGIC => Btf::Present { bytes },
        Ok(_) => Btf::Unusable("it is not BTF".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Btf::Missing,
        Err(error) => Btf::Unusable(error.to_string()),
    }
}

/// The file lists all levels with the current one in brackets.
fn parse_lockdown(text: &str) -> Option<Lockdown> {
    match text.split_once('[')?.1.split_once(']')?.0 {
        "none" => Some(Lockdown::None),
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

fn sysctl(name: &str) -> Option<i64> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

/// From `/proc/self/mounts` (fstab(5)).
fn find_tracefs(mounts: &str) -> Option<PathBuf> {
    let mount_point = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields.get(2) == Some(&"tracefs")).then(|| fields.get(1).map(PathBuf::from))?
    };
    mounts.lines().find_map(mount_point)
}

fn container_hints() -> Vec<String> {
    let mut hints: Vec<String> = ["/.dockerenv", "/run/.containerenv"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .map(str::to_owned)
        .collect();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    hints.extend(
        ["docker", "kubepods", "containerd", "libpod", "lxc"]
            .into_iter()
            .filter(|name| groups.contains(name))
            .map(|name| format!("control group of {name}")),
    );
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (release, expected) in [
            ("6.18.44-fc-v595", Some((6, 18))),
            ("5.10.0-32-amd64", Some((5, 10))),
            ("7.3+deb14", Some((7, 3))),
            ("7.3-rc1", Some((7, 3))),
            ("", None),
            ("linux", None),
        ] {
            assert_eq!(parse_version(release), expected, "{release}");
        }
    }

    #[test]
    fn lockdown_levels() {
        assert_eq!(parse_lockdown("none [integrity] confidentiality\n"), Some(Lockdown::Integrity));
        assert_eq!(parse_lockdown("[none] integrity confidentiality\n"), Some(Lockdown::None));
        assert_eq!(parse_lockdown(""), None);
    }

    #[test]
    fn tracefs_mounts() {
        let mounts = "proc /proc proc rw 0 0\ntracefs /sys/kernel/tracing tracefs rw 0 0\n";
        assert_eq!(find_tracefs(mounts), Some("/sys/kernel/tracing".into()));
        assert_eq!(find_tracefs("tracefs /x tmpfs rw 0 0\n"), None);
    }

    #[test]
    fn btf_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("btf");
        assert_eq!(read_btf(&file), Btf::Missing);
        fs::write(&file, b"\x7fELF").unwrap();
        assert!(matches!(read_btf(&file), Btf::Unusable(_)));
        fs::write(&file, BTF_MAGIC.to_ne_bytes()).unwrap();
        assert_eq!(read_btf(&file), Btf::Present { bytes: 2 });
        fs::write(&file, b"").unwrap();
        assert!(matches!(read_btf(&file), Btf::Unusable(_)));
    }

    #[test]
    fn this_host() {
        let host = Host::read(Path::new("/nonexistent")).unwrap();
        assert!(host.version() >= (4, 0) && host.n_cpus > 0);
        assert_eq!(host.btf, Btf::Missing);
    }
}
