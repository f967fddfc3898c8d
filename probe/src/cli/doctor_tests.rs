//! What doctor says of made-up hosts and targets.

use super::*;
use crate::engine::TriedFunctions;
use crate::host::Caps;
use crate::probes::{Hook, gpu::SurveyedGpu};
use crate::target::Listener;
use std::collections::BTreeSet;

fn host() -> Host {
    Host {
        name: "test".to_owned(),
        release: "6.12.117-1-amd64".to_owned(),
        arch: "x86_64".to_owned(),
        n_cpus: 2,
        uid: 0,
        exe: "/usr/bin/probe".into(),
        caps: Caps::ALL,
        btf_path: "/sys/kernel/btf/vmlinux".into(),
        btf: Btf::Present { bytes: 5_242_880 },
        lockdown: Some(Lockdown::None),
        unprivileged_bpf_disabled: Some(2),
        perf_event_paranoid: Some(2),
        kptr_restrict: Some(1),
        bpf_jit_enable: Some(1),
        tracefs: None,
        is_init_pid_ns: true,
        is_init_user_ns: true,
        container_hints: vec!["/.dockerenv".to_owned()],
    }
}

fn hook(result: Result<(), String>) -> HookResult {
    const HOOK: Hook = Hook {
        program: "socket_state",
        again: None,
        tracepoint: "inet_sock_set_state",
        perf: None,
        since: "4.17",
        purpose: "accept-queue wait, aborted connections",
    };
    HookResult { probe: "socket", hook: &HOOK, by_perf: None, result }
}

fn facts() -> Facts {
    Facts {
        pid: 4242,
        cmdline: "python3 -m uvicorn app:app --host 0.0.0.0 --port 8000 --workers 4 --log-level warning"
            .to_owned(),
        exe: "/usr/bin/python3.12".to_owned(),
        processes: vec![4242, 4243],
        n_threads: 9,
        listeners: vec![Listener {
            port: 8000,
            addr: std::net::Ipv6Addr::UNSPECIFIED.into(),
            inode: 1,
            netns: 2,
            pids: vec![4242, 4243],
        }],
        ..Facts::default()
    }
}

fn page_of(host: &Host, hooks: &[HookResult], target: Option<&Result<Facts, Refusal>>) -> (String, bool) {
    let (text, can_attach) =
        page(host, &prerequisites(host), Ok(hooks), &Functions::default(), &Survey::default(), target);
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "too wide: {line}");
        assert_eq!(line, line.trim_end());
    }
    (text, can_attach)
}

#[test]
fn a_good_host_and_target() {
    let (text, can_attach) = page_of(&host(), &[hook(Ok(()))], Some(&Ok(facts())));
    assert!(can_attach);
    for words in [
        "[::]:8000, held by 4242 4243",
        "2 processes, 9 threads",
        "tracefs is not mounted",
        "nothing is missing",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn a_hook_that_is_refused_blocks() {
    let refused = hook(Err("the kernel refused the program: no".to_owned()));
    let (text, can_attach) = page_of(&host(), &[hook(Ok(())), refused], None);
    assert!(!can_attach && text.contains("attach cannot work here: 1 thing in the way"), "{text}");
    let error = anyhow::anyhow!("out of memory").context("failed to load the kernel side");
    let (text, can_attach) = page(&host(), &[], Err(&error), &Functions::default(), &Survey::default(), None);
    assert!(!can_attach && text.contains("failed to load the kernel side: out of memory"), "{text}");
}

#[test]
fn a_plain_user_is_told_the_remedy() {
    let host = Host { caps: Caps::default(), uid: 1000, ..host() };
    let (text, can_attach) = page_of(&host, &[], None);
    assert!(!can_attach);
    for words in ["STOP", "remedy: run probe with sudo", "not tried"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn blind_spots_of_a_target() {
    let found = Facts {
        listeners: Vec::new(),
        tls_libraries: BTreeSet::from(["libssl.so.3".to_owned()]),
        n_io_urings: 2,
        unreadable: vec![4243],
        seccomp: 2,
        is_other_net_ns: true,
        ..facts()
    };
    let (text, can_attach) = page_of(&host(), &[hook(Ok(()))], Some(&Ok(found)));
    assert!(can_attach);
    for words in
        ["listens on no TCP port", "libssl.so.3", "io_uring is in use (2 rings)", "3 things less", "seccomp"]
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn a_target_that_is_not_there_blocks() {
    let (text, can_attach) =
        page_of(&host(), &[], Some(&Err(Refusal::unable("no process has the id 9", "look it up"))));
    assert!(!can_attach && text.contains("no process has the id 9"), "{text}");
}

#[test]
fn gpus_and_their_absence() {
    let device = crate::event::GpuDevice {
        gpu: 0,
        name: Some("NVIDIA H100\u{1b}[2J".to_owned()),
        driver: Some("580.95.05".to_owned()),
        memory_total_bytes: Some(80 << 30),
        ..crate::event::GpuDevice::default()
    };
    let seen = Survey {
        gpus: vec![SurveyedGpu { device, n_processes: 3 }],
        absence: None,
        gaps: vec![crate::event::BlindSpot {
            what: "of GPU 0: energy".to_owned(),
            why: "the driver says: no".to_owned(),
            remedy: "none".to_owned(),
        }],
    };
    let of = |survey: &Survey| page(&host(), &[], Ok(&[hook(Ok(()))]), &Functions::default(), survey, None);
    let (text, can_attach) = of(&seen);
    assert!(can_attach && text.contains("NVIDIA H100?[2J, 80 GiB, driver 580.95.05,"), "{text}");
    assert!(text.contains("less  of GPU 0: energy") && text.contains("1 thing less"), "{text}");
    let none =
        Survey { absence: Some(("no driver".to_owned(), "none needed".to_owned())), ..Survey::default() };
    let (text, can_attach) = of(&none);
    assert!(can_attach && text.contains("info  no driver") && text.contains("nothing is missing"), "{text}");
}

#[test]
fn functions_that_cannot_be_probed() {
    let tried =
        |functions: Functions| page(&host(), &[], Ok(&[hook(Ok(()))]), &functions, &Survey::default(), None);
    let (text, can_attach) = tried(Functions::of(Ok(TriedFunctions::default()), None));
    assert!(can_attach && text.contains("takes probes on functions"), "{text}");
    let (text, can_attach) = tried(Functions::of(Err("no uprobes".to_owned()), None));
    assert!(can_attach && text.contains("1 thing less") && text.contains("no uprobes"), "{text}");
    let mut found = TriedFunctions::default();
    found.placed.entry("/lib/libssl.so.3".to_owned()).or_default().extend(["SSL_read", "SSL_write"]);
    found.refused.push(("SSL_read_ex", "a filter".to_owned()));
    let (text, _) = tried(Functions::of(Ok(TriedFunctions::default()), Some(found)));
    assert!(text.contains("SSL_read, SSL_write of /lib/libssl.so.3") && text.contains("a filter"), "{text}");
    let (text, _) = tried(Functions::of(Ok(TriedFunctions::default()), Some(TriedFunctions::default())));
    assert!(text.contains("no OpenSSL") && text.contains("nothing is missing"), "{text}");
}
