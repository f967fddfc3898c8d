//! The texts of `/proc`, made up and real.

use std::io::Read as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::{Around, Sampler, parse};

#[test]
fn texts_of_proc() {
    assert_eq!(parse::run_queue_ns("123 4567 8\n"), Some(4567));
    assert_eq!(parse::resident_pages("1000 42 7 1 0 5 0\n"), Some(42));
    let status = "Name:\tnonvoluntary_ctxt_switches:\t9\nThreads:\t1\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t3\n";
    assert_eq!(parse::switches(status), Some((150, 3)));
    let stat = "cpu  10 1 20 900 5 0 4 0 99 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
    assert_eq!(parse::cpu_ticks(stat), Some((35, 940)));
    let snmp = "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm OutSegs RetransSegs\nTcp: 1 100 7\nUdp: x\n";
    assert_eq!(parse::segments(snmp), Some((107, 7)));
    let tcp = "  sl  local_address rem_address   st\n\
               0: 0100007F:1F40 00000000:0000 0A 0\n\
               1: 0100007F:1F40 0100007F:C350 01 0\n\
               2: 0100007F:C350 0100007F:1F40 01 0\n\
               3: 0100007F:1F41 0100007F:C351 01 0\n";
    assert_eq!((parse::established(tcp, &[8000]), parse::established(tcp, &[8000, 8001])), (1, 2));
    assert_eq!(parse::unified_group("1:name=x:/y\n0::/user.slice/a b\n"), Some("/user.slice/a b"));
    assert_eq!((parse::limit_bytes("max\n"), parse::limit_bytes("1048576\n")), (None, Some(1_048_576)));
    assert_eq!(parse::total_bytes("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
}

proptest! {
    #[test]
    fn any_text_is_read_or_not(text: String) {
        let _ = (parse::run_queue_ns(&text), parse::resident_pages(&text), parse::switches(&text));
        let _ = (parse::cpu_ticks(&text), parse::cpu_ticks(&format!("cpu {text}")), parse::segments(&text));
        let _ = (parse::established(&text, &[1]), parse::unified_group(&text), parse::total_bytes(&text));
    }
}

/// This process, by what it knows of itself; and a process that has ended is no row.
#[test]
fn this_process_is_seen() {
    let pid = std::process::id();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut sampler = Sampler::new(&[]);
    let around = || Around { backlog: Some(3), ..Around::default() };
    let first = sampler.look([pid, child.id()].into_iter(), 1, around).unwrap();
    assert_eq!(first.processes.len(), 2);
    let own = &first.processes[0];
    assert_eq!((own.pid, first.backlog), (pid, Some(3)));
    assert!(own.rss_bytes.unwrap() > 1 << 20 && own.cpu_ns.unwrap() > 0 && own.threads >= 1, "{own:?}");
    assert!(own.fds.unwrap() >= 3 && own.run_queue_ns == Some(0) && own.voluntary == Some(0), "{own:?}");
    let machine = first.machine;
    assert!(machine.cpus >= 1 && machine.busy_ms <= machine.total_ms, "{machine:?}");
    assert!(machine.memory_limit_bytes.unwrap() > 1 << 20 && machine.retransmits <= machine.segments);
    assert_eq!(sampler.look([pid].into_iter(), 2, around), None, "it has only just looked");
    drop(child.stdin.take());
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    child.wait().unwrap();
    let mut other = Sampler::new(&[]);
    assert_eq!(other.look([child.id()].into_iter(), 3, around).unwrap().processes, []);
}
