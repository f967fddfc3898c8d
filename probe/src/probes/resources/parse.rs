//! The texts of `/proc` that this room reads (`proc(5)`), as numbers. Pure; what is not understood is none.

/// Run-queue delay of a thread, nanoseconds: the second number of `schedstat`.
pub(super) fn run_queue_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Resident pages: the second number of `statm`.
pub(super) fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Voluntary and involuntary context switches of a thread, at the end of its `status`.
pub(super) fn switches(status: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        status.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
    };
    Some((field("voluntary_ctxt_switches")?, field("nonvoluntary_ctxt_switches")?))
}

/// Ticks of all CPUs together from `/proc/stat`: those that were not idle, and all.
pub(super) fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let ticks: Vec<u64> = fields.split_ascii_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
    let total = ticks.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
    Some((total.saturating_sub(idle), total))
}

/// TCP segments sent and sent again, from `/proc/net/snmp`.
pub(super) fn segments(snmp: &str) -> Option<(u64, u64)> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let values: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let field = |name| {
        let at = names.iter().position(|known| *known == name)?;
        values.get(at)?.parse::<u64>().ok()
    };
    // RetransSegs is no part of OutSegs.
    let again = field("RetransSegs")?;
    Some((field("OutSegs")?.saturating_add(again), again))
}

/// Established connections to one of these ports in a `/proc/net/tcp`.
pub(super) fn established(tcp: &str, ports: &[u16]) -> u32 {
    const ESTABLISHED: &str = "01";
    let is_counted = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        let port = local.and_then(|local| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok());
        state == Some(ESTABLISHED) && port.is_some_and(|port| ports.contains(&port))
    };
    u32::try_from(tcp.lines().skip(1).filter(is_counted).count()).unwrap_or(u32::MAX)
}

/// The group of a process in the unified hierarchy, from `/proc/PID/cgroup`.
pub(super) fn unified_group(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// A limit of a control group; `max` is none.
pub(super) fn limit_bytes(memory_max: &str) -> Option<u64> {
    memory_max.trim().parse().ok()
}

/// All memory of the machine, from `/proc/meminfo`.
pub(super) fn total_bytes(meminfo: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}
