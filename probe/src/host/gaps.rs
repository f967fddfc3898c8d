//! What stands between this host and a full view, each with its consequence and its remedy. All
//! prerequisites of loading are judged here and nowhere else.

use super::{Btf, Cap, Host, Lockdown};

/// How bad a gap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Attach cannot work.
    Blocks,
    /// Attach works, but something stays unseen or costs more.
    Degrades,
    /// Nothing is missed; said because people look for it.
    Info,
}

/// Something that this host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How bad.
    pub severity: Severity,
    /// What is lacking: one sentence, lower case, no dot.
    pub what: String,
    /// What follows from it.
    pub consequence: String,
    /// What helps; empty when there is nothing to do.
    pub remedy: String,
}

/// Processors whose registers the kernel programs know, as `uname -m` names them.
const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];
/// Oldest kernel that probe is tried on.
const OLDEST_TRIED: (u32, u32) = (5, 10);
/// Kernels that have the BPF ring buffer, `CAP_BPF` and `CAP_PERFMON`.
const RING_BUFFER: (u32, u32) = (5, 8);
/// Kernels that account map memory to the control group instead of `RLIMIT_MEMLOCK`.
const NO_MEMLOCK: (u32, u32) = (5, 11);

/// Everything that is lacking, the worst first.
pub fn prerequisites(host: &Host) -> Vec<Gap> {
    let checks =
        [arch, kernel, namespaces, capabilities, lockdown, btf, other_users, admin, memlock, jit, tracefs];
    let mut gaps: Vec<Gap> = checks.iter().filter_map(|check| check(host)).collect();
    gaps.sort_by_key(|gap| gap.severity);
    gaps
}

fn gap(severity: Severity, what: impl Into<String>, consequence: &str, remedy: impl Into<String>) -> Gap {
    Gap { severity, what: what.into(), consequence: consequence.into(), remedy: remedy.into() }
}

fn arch(host: &Host) -> Option<Gap> {
    if PROCESSORS.contains(&host.arch.as_str()) {
        return None;
    }
    Some(gap(
        Severity::Blocks,
        format!("probe does not know the processor `{}`", host.arch),
        "its kernel programs read system call arguments from registers that they have to know",
        "run it on an x86-64 or arm64 machine",
    ))
}

fn kernel(host: &Host) -> Option<Gap> {
    let (major, minor) = host.version();
    if host.version() < RING_BUFFER {
        return Some(gap(
            Severity::Blocks,
            format!("kernel {} is too old", host.release),
            "it has no BPF ring buffer (5.8)",
            "boot a kernel from 5.10 on",
        ));
    }
    if host.version() < OLDEST_TRIED {
        return Some(gap(
            Severity::Degrades,
            format!("kernel {major}.{minor} is older than any that probe is tested on (5.10)"),
            "a hook may be missing",
            "boot a kernel from 5.10 on",
        ));
    }
    None
}

fn namespaces(host: &Host) -> Option<Gap> {
    if !host.is_init_user_ns {
        return Some(gap(
            Severity::Blocks,
            "probe runs in a user namespace (a rootless container)",
            "the capabilities of this namespace do not count for loading kernel programs",
            "run it on the host, or in a privileged container that is not rootless",
        ));
    }
    if !host.is_init_pid_ns {
        return Some(gap(
            Severity::Blocks,
            "probe runs in a pid namespace of its own (a container)",
            "kernel programs see other process numbers than it does",
            "run it on the host, or start the container with `--pid=host --privileged`",
        ));
    }
    None
}

/// One sentence that names everything a user lacks, also what alone would only degrade.
fn capabilities(host: &Host) -> Option<Gap> {
    let loading: &[Cap] =
        if host.version() < RING_BUFFER { &[Cap::SysAdmin] } else { &[Cap::Bpf, Cap::Perfmon] };
    if loading.iter().all(|&cap| host.caps.allows(cap)) {
        return None;
    }
    let all = loading.iter().chain(&OTHER_USERS);
    let missing: Vec<Cap> = all.copied().filter(|&cap| !host.caps.allows(cap)).collect();
    Some(gap(
        Severity::Blocks,
        format!(
            "not allowed to load kernel programs: {} missing (uid {})",
            list(&missing, Cap::to_string),
            host.uid
        ),
        "the kernel refuses them",
        run_with(host, &missing),
    ))
}

/// What reading another user's `/proc/PID/fd` takes: the directory's mode, and the links' check.
const OTHER_USERS: [Cap; 2] = [Cap::SysPtrace, Cap::DacReadSearch];

fn other_users(host: &Host) -> Option<Gap> {
    // Said already in the sentence about loading.
    if capabilities(host).is_some() {
        return None;
    }
    let missing: Vec<Cap> = OTHER_USERS.into_iter().filter(|&cap| !host.caps.allows(cap)).collect();
    if missing.is_empty() {
        return None;
    }
    Some(gap(
        Severity::Degrades,
        format!("{} missing (uid {})", list(&missing, Cap::to_string), host.uid),
        "of other users' processes neither listeners nor libraries can be found, and `--port` finds none",
        run_with(host, &missing),
    ))
}

fn admin(host: &Host) -> Option<Gap> {
    if capabilities(host).is_some() || host.caps.allows(Cap::SysAdmin) {
        return None;
    }
    Some(gap(
        Severity::Degrades,
        "CAP_SYS_ADMIN missing",
        "the share of a core that kernel programs take stays unknown, and so do the listener overflows of a \
         target in another network namespace",
        "run probe with sudo",
    ))
}

fn memlock(host: &Host) -> Option<Gap> {
    if host.version() >= NO_MEMLOCK || host.caps.allows(Cap::SysResource) {
        return None;
    }
    Some(gap(
        Severity::Degrades,
        "CAP_SYS_RESOURCE missing",
        "before 5.11 maps count against the limit of locked memory, which cannot be raised",
        "run probe with sudo, or with `ulimit -l unlimited`",
    ))
}

fn lockdown(host: &Host) -> Option<Gap> {
    if host.lockdown != Some(Lockdown::Confidentiality) {
        return None;
    }
    Some(gap(
        Severity::Blocks,
        "the kernel is locked down (confidentiality)",
        "kernel programs may not read kernel memory",
        "boot with `lockdown=integrity`, or without Secure Boot",
    ))
}

fn btf(host: &Host) -> Option<Gap> {
    let path = host.btf_path.display();
    let what = match &host.btf {
        Btf::Present { .. } => return None,
        Btf::Missing => format!("the kernel has no type information (BTF): `{path}` is missing"),
        Btf::Unusable(why) => format!("the kernel's type information (BTF) cannot be used: `{path}`: {why}"),
    };
    Some(gap(
        Severity::Blocks,
        what,
        "where the members of kernel structures lie is not known",
        "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have it); \
         in a container mount /sys",
    ))
}

fn jit(host: &Host) -> Option<Gap> {
    if host.bpf_jit_enable != Some(0) {
        return None;
    }
    Some(gap(
        Severity::Degrades,
        "kernel programs are interpreted (net.core.bpf_jit_enable = 0)",
        "they cost the target several times as much",
        "sysctl -w net.core.bpf_jit_enable=1",
    ))
}

fn tracefs(host: &Host) -> Option<Gap> {
    if host.tracefs.is_some() {
        return None;
    }
    Some(gap(
        Severity::Info,
        "tracefs is not mounted",
        "none: raw tracepoints do without it, and where perf's are better it is mounted for probe alone",
        "",
    ))
}

fn run_with(host: &Host, missing: &[Cap]) -> String {
    let names = missing.iter().map(|cap| cap.name()).collect::<Vec<_>>().join(",");
    format!("run probe with sudo, or once `sudo setcap {names}+ep {}`", host.exe.display())
}

/// `A, B and C`.
fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => text(last),
        Some((last, others)) => {
            format!("{} and {}", others.iter().map(&text).collect::<Vec<_>>().join(", "), text(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Caps;

    fn good() -> Host {
        Host {
            name: "test".to_owned(),
            release: "6.12.0".to_owned(),
            arch: "x86_64".to_owned(),
            n_cpus: 2,
            uid: 0,
            exe: "/usr/bin/probe".into(),
            caps: Caps::ALL,
            btf_path: "/sys/kernel/btf/vmlinux".into(),
            btf: Btf::Present { bytes: 5_000_000 },
            lockdown: Some(Lockdown::Integrity),
            unprivileged_bpf_disabled: Some(2),
            perf_event_paranoid: Some(4),
            kptr_restrict: Some(2),
            bpf_jit_enable: Some(1),
            tracefs: Some("/sys/kernel/tracing".into()),
            is_init_pid_ns: true,
            is_init_user_ns: true,
            container_hints: Vec::new(),
        }
    }

    fn gaps(change: impl Fn(&mut Host)) -> Vec<(Severity, String)> {
        let mut host = good();
        change(&mut host);
        prerequisites(&host).into_iter().map(|gap| (gap.severity, gap.what)).collect()
    }

    #[test]
    fn nothing_lacks_on_a_good_host() {
        assert_eq!(gaps(|_| ()), []);
        assert_eq!(gaps(|host| host.arch = "aarch64".to_owned()), []);
    }

    #[test]
    fn each_gap_alone() {
        type Case = (fn(&mut Host), Severity, &'static str);
        let cases: [Case; 13] = [
            (|host| host.arch = "s390x".to_owned(), Severity::Blocks, "processor"),
            (|host| host.release = "5.4.0".to_owned(), Severity::Blocks, "too old"),
            (|host| host.release = "5.9.0".to_owned(), Severity::Degrades, "older than any"),
            (|host| host.is_init_user_ns = false, Severity::Blocks, "user namespace"),
            (|host| host.is_init_pid_ns = false, Severity::Blocks, "pid namespace"),
            (|host| host.lockdown = Some(Lockdown::Confidentiality), Severity::Blocks, "locked down"),
            (|host| host.btf = Btf::Missing, Severity::Blocks, "BTF"),
            (|host| host.btf = Btf::Unusable("no".to_owned()), Severity::Blocks, "BTF"),
            (|host| host.caps = host.caps.without(Cap::SysPtrace), Severity::Degrades, "CAP_SYS_PTRACE"),
            (|host| host.caps = host.caps.without(Cap::SysAdmin), Severity::Degrades, "CAP_SYS_ADMIN"),
            (|host| host.bpf_jit_enable = Some(0), Severity::Degrades, "interpreted"),
            (|host| host.tracefs = None, Severity::Info, "tracefs"),
            (
                |host| {
                    host.release = "5.10.0".to_owned();
                    host.caps = host.caps.without(Cap::SysResource);
                },
                Severity::Degrades,
                "CAP_SYS_RESOURCE",
            ),
        ];
        for (change, severity, word) in cases {
            let found = gaps(change);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].0 == severity && found[0].1.contains(word), "{found:?}");
        }
    }

    #[test]
    fn a_plain_user_gets_one_sentence() {
        let mut host = good();
        host.caps = Caps::default();
        host.uid = 1000;
        let gaps = prerequisites(&host);
        assert_eq!(gaps.len(), 1);
        for word in ["CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", "uid 1000"] {
            assert!(gaps[0].what.contains(word), "{}", gaps[0].what);
        }
        let setcap = "setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep /usr/bin/probe";
        assert!(gaps[0].remedy.contains(setcap), "{}", gaps[0].remedy);
    }

    #[test]
    fn the_worst_comes_first() {
        let found = gaps(|host| {
            host.tracefs = None;
            host.bpf_jit_enable = Some(0);
            host.btf = Btf::Missing;
        });
        let severities: Vec<Severity> = found.iter().map(|gap| gap.0).collect();
        assert_eq!(severities, [Severity::Blocks, Severity::Degrades, Severity::Info]);
    }
}
