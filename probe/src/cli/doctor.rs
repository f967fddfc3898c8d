//! `probe doctor`: what this kernel, these capabilities and this target allow; each gap with its
//! consequence and remedy. Exit code 0 when attach can work.

mod functions;
mod gpus;

use std::fmt::Write;

use anyhow::Context;

use super::outcome::print_report;
use super::{DoctorArgs, Outcome, Refusal, readiness};
use crate::engine::{HookResult, Kernel, LoadConfig};
use crate::host::{Btf, Cap, Gap, Host, Lockdown, Severity, prerequisites};
use crate::probes::{
    self,
    gpu::{self, Survey},
    rungs::RAW_TRACEPOINTS,
};
use crate::profile::Profile;
use crate::target::facts::{self, Facts};
use crate::target::resolve;
use functions::Functions;

/// Enough to load; nothing is written into it.
const RING_BYTES: u32 = 64 * 1024;
/// Width of the page, characters.
const WIDTH: usize = 80;
/// Where the second column begins.
const INDENT: usize = 8;
/// Width of the names in the second column.
const NAMES: usize = 30;

/// Runs the command.
pub fn run(args: &DoctorArgs) -> anyhow::Result<Outcome> {
    let profile = args.profile.as_deref().map(Profile::load).transpose();
    let profile =
        profile.map_err(|errors| Refusal::usage(errors.to_string(), "see `profiles/` for examples"))?;
    let host = Host::read(&args.btf).context("failed to ask the kernel for its `uname`")?;
    let gaps = prerequisites(&host);
    let blocked = gaps.iter().any(|gap| gap.severity == Severity::Blocks);
    // A try that must fail would only say the same in worse words.
    let config = load_config(args);
    let hooks = if blocked { Ok(Vec::new()) } else { Kernel::try_hooks(&config) };
    let target = args.target.is_given().then(|| {
        resolve(&args.target)
            .map(|roots| facts::gather(&roots.iter().map(|root| root.pid).collect::<Vec<_>>()))
    });
    let facts = target.as_ref().and_then(|target| target.as_ref().ok());
    let functions = if blocked || hooks.is_err() {
        Functions::default()
    } else {
        Functions::tried(&config, facts.map(|facts| facts.processes.as_slice()))
    };
    let gpus = gpu::survey(args.nvml.clone());
    let (page, can_attach) = page(&host, &gaps, hooks.as_deref(), &functions, &gpus, target.as_ref());
    let (readiness, is_ready) =
        profile.map_or((String::new(), true), |profile| readiness::page(&profile, &host, &gaps, facts));
    print_report(&(page + &readiness)).context("failed to write to `stdout`")?;
    Ok(if can_attach && is_ready { Outcome::Ok } else { Outcome::Unable })
}

/// With this the kernel side is loaded and each hook attached for a moment; nothing is traced.
fn load_config(args: &DoctorArgs) -> LoadConfig<'_> {
    LoadConfig {
        btf: &args.btf,
        ring_bytes: RING_BYTES,
        follow_children: false,
        rooms: probes::every_room(),
        without: &args.force_rung,
    }
}

/// The whole page, and whether attach can work.
fn page(
    host: &Host,
    gaps: &[Gap],
    hooks: Result<&[HookResult], &anyhow::Error>,
    functions: &Functions,
    gpus: &Survey,
    target: Option<&Result<Facts, Refusal>>,
) -> (String, bool) {
    let mut page = Page::default();
    page.host(host, gaps);
    page.hooks(hooks);
    page.functions(functions);
    page.gpus(gpus);
    match target {
        None => {}
        Some(Ok(facts)) => page.target(facts),
        Some(Err(refusal)) => page.refused(refusal),
    }
    page.text.push('\n');
    let verdict = match (page.n_blocking, page.n_degrading) {
        (0, 0) => "attach can work here, and nothing is missing".to_owned(),
        (0, n) => format!(
            "attach can work here, {n} {} less than it could",
            if n == 1 { "thing" } else { "things" }
        ),
        (n, _) => {
            format!("attach cannot work here: {n} {} in the way", if n == 1 { "thing" } else { "things" })
        }
    };
    page.wrapped("", 0, &verdict);
    (page.text, page.n_blocking == 0)
}

/// The page as it is written.
#[derive(Default)]
struct Page {
    text: String,
    n_blocking: usize,
    n_degrading: usize,
}

impl Page {
    fn host(&mut self, host: &Host, gaps: &[Gap]) {
        self.title("kernel and rights");
        self.fact("kernel", &format!("{} {}, {} cpus", host.release, host.arch, host.n_cpus));
        if let Btf::Present { bytes } = host.btf {
            let mib = bytes as f64 / f64::from(1 << 20);
            self.fact("type information", &format!("{}, {mib:.1} MiB", host.btf_path.display()));
        }
        let loading = [Cap::Bpf, Cap::Perfmon, Cap::SysPtrace, Cap::DacReadSearch, Cap::SysAdmin];
        let held: Vec<String> =
            loading.iter().filter(|&&cap| host.caps.allows(cap)).map(Cap::to_string).collect();
        if !held.is_empty() {
            self.fact("capabilities", &format!("{} (uid {})", held.join(" "), host.uid));
        }
        match host.lockdown {
            Some(Lockdown::None) => self.fact("lockdown", "off"),
            Some(Lockdown::Integrity) => {
                self.fact("lockdown", "integrity: reading is allowed, all that is needed");
            }
            Some(Lockdown::Confidentiality) | None => {}
        }
        let sysctls = [
            ("unprivileged_bpf_disabled", host.unprivileged_bpf_disabled),
            ("perf_event_paranoid", host.perf_event_paranoid),
            ("kptr_restrict", host.kptr_restrict),
        ];
        let known: Vec<String> =
            sysctls.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))).collect();
        if !known.is_empty() {
            self.line(
                "info",
                "settings",
                &format!("{}; no hindrance with the capabilities", known.join(" ")),
            );
        }
        if !host.container_hints.is_empty() {
            self.line("info", "container", &host.container_hints.join(", "));
        }
        for gap in gaps {
            self.gap(gap);
        }
    }

    fn hooks(&mut self, hooks: Result<&[HookResult], &anyhow::Error>) {
        self.title("hooks, each really tried");
        let hooks = match hooks {
            Ok([]) => return self.line("-", "not tried", "what is in the way above comes first"),
            Ok(hooks) => hooks,
            Err(error) => {
                return self.gap(&Gap {
                    severity: Severity::Blocks,
                    what: format!("{error:#}"),
                    consequence: "no hook can be tried".to_owned(),
                    remedy:
                        "see what is in the way above; else the kernel and this build do not fit together"
                            .to_owned(),
                });
            }
        };
        for HookResult { probe, hook, by_perf, result } in hooks {
            if let Some(Err(why)) = by_perf {
                self.gap(&Gap {
                    severity: Severity::Degrades,
                    what: format!("{probe}: perf's {} ({}): {why}", hook.tracepoint, hook.program),
                    consequence: format!("{}: {}", RAW_TRACEPOINTS.instead, RAW_TRACEPOINTS.unseen),
                    remedy: "let perf open tracepoints (tracefs, CAP_PERFMON)".to_owned(),
                });
            }
            match result {
                Ok(()) if *by_perf == Some(Ok(())) => {
                    self.fact(&format!("{probe}: perf's {}", hook.tracepoint), hook.purpose);
                }
                Ok(()) => self.fact(&format!("{probe}: {}", hook.tracepoint), hook.purpose),
                Err(error) => {
                    let rung = probes::rungs::below(hook.program);
                    let unseen = rung.map_or(hook.purpose, |rung| rung.unseen);
                    let instead = rung.map(|rung| format!("instead, {}; ", rung.instead)).unwrap_or_default();
                    self.gap(&Gap {
                        severity: if rung.is_some() { Severity::Degrades } else { Severity::Blocks },
                        what: format!("{probe}: {} ({}): {error}", hook.tracepoint, hook.program),
                        consequence: format!("{instead}without it there is no knowing of {unseen}"),
                        remedy: format!("a kernel from {} on that has this tracepoint", hook.since),
                    });
                }
            }
        }
    }

    fn target(&mut self, facts: &Facts) {
        self.title("target");
        self.fact("process", &format!("{} {}", facts.pid, facts.cmdline));
        self.fact("program", &facts.exe);
        self.fact("tree", &format!("{} processes, {} threads", facts.processes.len(), facts.n_threads));
        for listener in &facts.listeners {
            let pids = listener.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            self.fact(
                "listens on",
                &format!("{}, held by {pids}", std::net::SocketAddr::new(listener.addr, listener.port)),
            );
        }
        for library in &facts.sqlite_libraries {
            self.fact("SQLite", library);
        }
        if facts.is_other_net_ns {
            self.fact("network namespace", "its own; listeners and their overflows are read inside it");
        }
        if facts.is_other_pid_ns {
            self.fact("pid namespace", "its own; the report shows the numbers of this namespace");
        }
        if facts.seccomp == 2 {
            self.line("info", "seccomp", "a filter is on; no hindrance to tracepoints");
        }
        for gap in target_gaps(facts) {
            self.gap(&gap);
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.title("target");
        for problem in &refusal.problems {
            self.gap(&Gap {
                severity: Severity::Blocks,
                what: problem.what.clone(),
                consequence: "there is nothing to attach to".to_owned(),
                remedy: problem.remedy.clone(),
            });
        }
    }

    fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += title;
        self.text.push('\n');
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.line("ok", name, value);
    }

    fn line(&mut self, mark: &str, name: &str, value: &str) {
        if name.chars().count() < NAMES {
            self.wrapped(&format!("  {mark:<5} {name:<NAMES$}"), INDENT + NAMES, value);
        } else {
            self.wrapped(&format!("  {mark:<5} {name}  "), INDENT + NAMES, value);
        }
    }

    fn gap(&mut self, gap: &Gap) {
        let mark = match gap.severity {
            Severity::Blocks => {
                self.n_blocking += 1;
                "STOP"
            }
            Severity::Degrades => {
                self.n_degrading += 1;
                "less"
            }
            Severity::Info => "info",
        };
        self.wrapped(&format!("  {mark:<5} "), INDENT, &gap.what);
        self.wrapped(&format!("{:INDENT$}consequence: ", ""), INDENT + 2, &gap.consequence);
        if !gap.remedy.is_empty() {
            self.wrapped(&format!("{:INDENT$}remedy: ", ""), INDENT + 2, &gap.remedy);
        }
    }

    /// Writes words after a head, broken at the page's width and indented where they go on. A word that
    /// is longer than a line stands alone on one: a path that is cut is of no use.
    fn wrapped(&mut self, head: &str, indent: usize, words: &str) {
        let mut line = head.to_owned();
        let mut is_bare = true;
        for word in words.split_whitespace() {
            let space = usize::from(!is_bare);
            if !is_bare && line.chars().count() + space + word.chars().count() > WIDTH {
                self.text += line.trim_end();
                self.text.push('\n');
                line = " ".repeat(indent);
                is_bare = true;
            }
            if !is_bare {
                line.push(' ');
            }
            line += word;
            is_bare = false;
        }
        let _ = writeln!(self.text, "{}", line.trim_end());
    }
}

/// What of a target stays unseen.
fn target_gaps(facts: &Facts) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut degrades = |what: String, consequence: &str, remedy: &str| {
        gaps.push(Gap {
            severity: Severity::Degrades,
            what,
            consequence: consequence.to_owned(),
            remedy: remedy.to_owned(),
        });
    };
    if facts.listeners.is_empty() {
        degrades(
            "the target listens on no TCP port".to_owned(),
            "there are no requests to see until it does",
            "choose the server's process, e.g. with --port; a listener that is opened later is seen",
        );
    }
    if !facts.unreadable.is_empty() {
        degrades(
            format!(
                "descriptors and libraries of {} of its processes cannot be read",
                facts.unreadable.len()
            ),
            "their listeners, TLS and SQLite are not known here",
            "run probe with sudo",
        );
    }
    if facts.seccomp == 1 {
        degrades(
            "seccomp in strict mode".to_owned(),
            "only read, write and exit are allowed to it: it can serve nothing",
            "choose the server's process",
        );
    }
    if facts.n_io_urings > 0 {
        degrades(
            format!("io_uring is in use ({} rings)", facts.n_io_urings),
            "what is read and sent through it makes no system call and is not seen; uvloop only batches its epoll \
             registrations there, which hides nothing",
            "nothing to do for uvloop; else turn io_uring off (sysctl kernel.io_uring_disabled=2)",
        );
    }
    // Python maps its ssl module also when it only calls others, so this is a question, not a gap.
    if !facts.tls_libraries.is_empty() {
        let names = facts.tls_libraries.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        gaps.push(Gap {
            severity: Severity::Info,
            what: format!("a TLS library is loaded: {names}"),
            consequence:
                "if the target itself serves https, its requests are seen where that is OpenSSL; else \
                          its connections are counted as encrypted"
                    .to_owned(),
            remedy: "for other libraries, serve plain http behind a proxy that ends TLS".to_owned(),
        });
    }
    gaps.push(Gap {
        severity: Severity::Info,
        what: "whether it speaks HTTP/2 shows only under load".to_owned(),
        consequence: "such connections are counted as a blind spot".to_owned(),
        remedy: String::new(),
    });
    gaps
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
