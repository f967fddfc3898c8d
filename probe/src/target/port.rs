//! `--port`: from a TCP port to the processes that serve it.

use std::collections::{BTreeMap, BTreeSet};

use super::procfs::{self, Stat};
use super::tcp;
use crate::cli::Refusal;

/// Ports named in the answer to a port that nobody listens on.
const PORTS_TOLD: usize = 12;

/// The roots of the processes that listen on a port, ascending.
pub(super) fn holders(port: u16) -> Result<Vec<u32>, Refusal> {
    let processes = procfs::all_processes();
    let mut listening: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut namespaces: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for &pid in processes.keys() {
        if let Ok(netns) = procfs::namespace(pid, "net") {
            namespaces.entry(netns).or_default().push(pid);
        }
    }
    let mut other_ports = BTreeSet::new();
    for (&netns, pids) in &namespaces {
        let Some(&pid) = pids.first() else { continue };
        for row in tcp::in_namespace_of(pid) {
            if row.port == port {
                listening.entry(netns).or_default().insert(row.inode);
            } else {
                other_ports.insert(row.port);
            }
        }
    }
    if listening.is_empty() {
        return Err(nobody(port, &other_ports));
    }
    let inodes = match (
        listening.len(),
        procfs::own_namespace("net").ok().and_then(|own| listening.get_key_value(&own)),
    ) {
        (_, Some(own)) => own,
        (1, None) => listening.first_key_value().ok_or_else(|| nobody(port, &other_ports))?,
        (n, None) => {
            return Err(Refusal::unable(
                format!("port {port} is listened on in {n} other network namespaces"),
                "name the process with `--pid` (`ss -lntp` inside the container shows it)",
            ));
        }
    };
    let (netns, inodes) = inodes;
    let in_namespace = namespaces.get(netns).map(Vec::as_slice).unwrap_or_default();
    // A process may hold a listener of a namespace that it has left, but that is rare enough to ask for --pid.
    let holders: Vec<u32> =
        in_namespace.iter().copied().filter(|&pid| !tcp::socket_inodes(pid).is_disjoint(inodes)).collect();
    if holders.is_empty() {
        return Err(Refusal::unable(
            format!("port {port} is listened on, but by no process that can be seen"),
            "look from the outermost pid namespace, or as root",
        ));
    }
    Ok(topmost(&holders, &processes))
}

fn nobody(port: u16, others: &BTreeSet<u16>) -> Refusal {
    let told: Vec<String> = others.iter().take(PORTS_TOLD).map(u16::to_string).collect();
    let remedy = match (told.len(), others.len()) {
        (0, _) => "start the server first; nothing listens on any TCP port here".to_owned(),
        (told_count, count) => {
            let more = if count > told_count { ", …" } else { "" };
            format!("start the server first, or choose a port that is listened on: {}{more}", told.join(", "))
        }
    };
    Refusal::unable(format!("no process listens on port {port}"), remedy)
}

/// The holders without a holder above them: a server's master with its workers is one, the workers follow.
/// Init is only taken when nobody else holds the socket: with socket activation it keeps a copy.
fn topmost(holders: &[u32], processes: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let without_init: Vec<u32> = holders.iter().copied().filter(|&pid| pid != 1).collect();
    let holders = if without_init.is_empty() { holders } else { &without_init };
    let has_holder_above = |pid: u32| {
        let parents = std::iter::successors(Some(pid), |pid| processes.get(pid).map(|stat| stat.ppid));
        parents.skip(1).take_while(|&pid| pid != 0).any(|parent| holders.contains(&parent))
    };
    holders.iter().copied().filter(|&pid| !has_holder_above(pid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_topmost_holders() {
        let process = |pid, ppid| {
            (pid, Stat { pid, comm: String::new(), state: 'S', ppid, flags: 0, cpu_ticks: 0, start_ticks: 0 })
        };
        let all = BTreeMap::from([
            process(1, 0),
            process(5, 1),
            process(50, 5),
            process(51, 5),
            process(60, 50),
            process(7, 1),
        ]);
        for (holders, expected) in [
            (&[5, 50, 51][..], &[5][..]),
            (&[50, 51], &[50, 51]),
            (&[5, 60], &[5]),
            (&[1, 7], &[7]),
            (&[1], &[1]),
        ] {
            assert_eq!(topmost(holders, &all), expected);
        }
    }

    #[test]
    fn finds_us() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(holders(port).unwrap(), [std::process::id()]);
        drop(listener);
    }

    #[test]
    fn nobody_names_other_ports() {
        let refusal = nobody(8000, &BTreeSet::from([22, 8080]));
        assert_eq!(refusal.problems[0].what, "no process listens on port 8000");
        assert!(refusal.problems[0].remedy.ends_with("22, 8080"));
    }
}
