//! What the run itself costs: time in our kernel programs, our own CPU time and memory.

use aya::sys::{Stats, enable_stats};
use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use super::{budget::Look, clock, load::Kernel};
use crate::{
    event::Budget,
    probes::{self, Hook},
};

/// The kernel measures program run times only when asked, and asking nearly doubles what a program costs
/// (measured: 140 ns on a system call). So it is asked for a tenth of a second out of every five, and with a budget, which
/// is to be kept soon, out of every second.
const SAMPLE_EVERY_NS: u64 = 5_000_000_000;
const SAMPLE_FOR_BUDGET_EVERY_NS: u64 = 1_000_000_000;
const SAMPLE_FOR_NS: u64 = 100_000_000;

/// The first sample, so that also a run of a few seconds has one.
const FIRST_SAMPLE_NS: u64 = 1_000_000_000;

/// The cost of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Cost {
    /// Time in kernel programs as a share of one core; none when it could not be measured.
    pub(super) bpf_cpu_ratio: Option<f64>,
    /// Own CPU time as a share of one core.
    pub(super) agent_cpu_ratio: f64,
    /// Own peak resident memory.
    pub(super) agent_rss_bytes: u64,
    /// How the run's budget was kept.
    pub(super) budget: Option<Budget>,
    /// Times the kernel skipped a program because it was already running on that CPU, by program.
    pub(super) recursion_misses: BTreeMap<String, u64>,
}

/// A sample that is being taken.
#[derive(Debug)]
struct Sampling {
    /// Keeps the kernel's run-time statistics on.
    statistics: OwnedFd,
    since_ns: u64,
    before_ns: u64,
}

/// Measures while a run goes on.
#[derive(Debug)]
pub(super) struct Health {
    began_ns: u64,
    cpu_before_ns: u64,
    /// Of the last look: when, and own CPU time until then.
    looked: (u64, u64),
    sample_every_ns: u64,
    next_sample_ns: u64,
    sampling: Option<Sampling>,
    sampled_ns: u64,
    in_programs_ns: u64,
}

impl Health {
    pub(super) fn begin(has_budget: bool) -> Self {
        let (began_ns, cpu_before_ns) = (clock::monotonic_ns(), clock::own_cpu_ns());
        Self {
            began_ns,
            cpu_before_ns,
            looked: (began_ns, cpu_before_ns),
            sample_every_ns: if has_budget { SAMPLE_FOR_BUDGET_EVERY_NS } else { SAMPLE_EVERY_NS },
            next_sample_ns: began_ns + FIRST_SAMPLE_NS,
            sampling: None,
            sampled_ns: 0,
            in_programs_ns: 0,
        }
    }

    /// To be called often; nearly always does nothing. Says what the run cost of late when that has been measured.
    pub(super) fn tick(&mut self, kernel: &Kernel) -> Option<Look> {
        let now_ns = clock::monotonic_ns();
        if self.sampling.as_ref().is_some_and(|sampling| now_ns >= sampling.since_ns + SAMPLE_FOR_NS) {
            let bpf = self.end_sample(kernel);
            return Some(self.look(bpf));
        }
        if now_ns < self.next_sample_ns {
            return None;
        }
        self.next_sample_ns = now_ns + self.sample_every_ns;
        let Ok(statistics) = enable_stats(Stats::RunTime) else {
            // Refused without CAP_SYS_ADMIN: then the ratio is unknown.
            return Some(self.look(None));
        };
        let before_ns = programs(kernel).run_time_ns;
        self.sampling = Some(Sampling { statistics, since_ns: clock::monotonic_ns(), before_ns });
        None
    }

    /// With the agent's cost since the look before.
    fn look(&mut self, bpf: Option<f64>) -> Look {
        let (since_ns, cpu_before_ns) = self.looked;
        self.looked = (clock::monotonic_ns(), clock::own_cpu_ns());
        let elapsed_ns = self.looked.0.saturating_sub(since_ns).max(1);
        Look { bpf, agent: self.looked.1.saturating_sub(cpu_before_ns) as f64 / elapsed_ns as f64 }
    }

    pub(super) fn end(mut self, kernel: &Kernel, budget: Option<Budget>) -> Cost {
        self.end_sample(kernel);
        let elapsed_ns = clock::monotonic_ns().saturating_sub(self.began_ns).max(1);
        let cpu_ns = clock::own_cpu_ns().saturating_sub(self.cpu_before_ns);
        Cost {
            bpf_cpu_ratio: (self.sampled_ns > 0).then(|| self.in_programs_ns as f64 / self.sampled_ns as f64),
            agent_cpu_ratio: cpu_ns as f64 / elapsed_ns as f64,
            agent_rss_bytes: peak_rss_bytes().unwrap_or(0),
            budget,
            recursion_misses: told_by_none(
                programs(kernel).recursion_misses,
                probes::hooks(probes::every_room()).map(|(_, hook)| hook),
                // Else it looks as if more was lost than was.
                kernel.n_taken().unwrap_or(0),
            ),
        }
    }

    /// Time in kernel programs during the sample that is being taken, as a share of one core.
    fn end_sample(&mut self, kernel: &Kernel) -> Option<f64> {
        let Sampling { statistics, since_ns, before_ns } = self.sampling.take()?;
        let in_programs_ns = programs(kernel).run_time_ns.saturating_sub(before_ns);
        let sampled_ns = clock::monotonic_ns().saturating_sub(since_ns);
        drop(statistics);
        self.in_programs_ns += in_programs_ns;
        self.sampled_ns += sampled_ns;
        (sampled_ns > 0).then(|| in_programs_ns as f64 / sampled_ns as f64)
    }
}

/// Sums over all our programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Programs {
    run_time_ns: u64,
    recursion_misses: BTreeMap<String, u64>,
}

/// One program's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Program {
    run_time_ns: u64,
    recursion_misses: u64,
}

/// From the programs' `/proc/self/fdinfo` (`bpf_prog_show_fdinfo`; `recursion_misses` since 5.12).
fn programs(kernel: &Kernel) -> Programs {
    let mut sum = Programs::default();
    for (name, fd) in kernel.program_fds() {
        let text =
            fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).unwrap_or_default();
        let one = parse_fdinfo(&text);
        sum.run_time_ns += one.run_time_ns;
        sum.recursion_misses.insert(name.to_owned(), one.recursion_misses);
    }
    sum
}

/// The misses that no program made up for. Of two that are called one after the other, the first told of what the second was
/// left out of, and the second of `taken` events that the first was left out of.
fn told_by_none<'a>(
    mut misses: BTreeMap<String, u64>,
    hooks: impl Iterator<Item = &'a Hook>,
    taken: u64,
) -> BTreeMap<String, u64> {
    for hook in hooks {
        let Some(again) = hook.again else { continue };
        if let Some(missed) = misses.get_mut(hook.program) {
            *missed = missed.saturating_sub(taken);
            misses.remove(again);
        }
    }
    misses.retain(|_, missed| *missed > 0);
    misses
}

fn parse_fdinfo(text: &str) -> Program {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    };
    Program { run_time_ns: field("run_time_ns"), recursion_misses: field("recursion_misses") }
}

/// `VmHWM` of `proc_pid_status(5)`, in kB there.
fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = crate::target::status_field(&status, "VmHWM")?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that a kernel does not print count as nothing.
    #[test]
    fn reads_fdinfo() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t17\nrun_time_ns:\t123456\nrun_cnt:\t9\nrecursion_misses:\t2\n";
        assert_eq!(parse_fdinfo(text), Program { run_time_ns: 123_456, recursion_misses: 2 });
        assert_eq!(parse_fdinfo("pos:\t0\n"), Program { run_time_ns: 0, recursion_misses: 0 });
    }

    /// Our own peak is there and plausible.
    #[test]
    fn reads_own_memory() {
        assert!(peak_rss_bytes().unwrap() > 100_000);
    }

    /// What either of two programs tells of is not lost; where there is only one of them, what it is left out of is.
    #[test]
    fn what_another_program_told_is_not_lost() {
        const STATE: Hook = Hook {
            program: "state",
            again: Some("again"),
            tracepoint: "",
            perf: None,
            since: "",
            purpose: "",
        };
        let named = |misses: &[(&str, u64)]| -> BTreeMap<String, u64> {
            misses.iter().map(|(name, missed)| ((*name).to_owned(), *missed)).collect()
        };
        let lost = |misses, taken| told_by_none(named(misses), [&STATE].into_iter(), taken);
        assert_eq!(lost(&[("state", 16), ("again", 3), ("other", 0)], 16), named(&[]));
        assert_eq!(
            lost(&[("state", 16), ("again", 3), ("other", 2)], 15),
            named(&[("state", 1), ("other", 2)])
        );
        assert_eq!(lost(&[("state", 3)], 0), named(&[("state", 3)]));
        assert_eq!(lost(&[("again", 3)], 100), named(&[("again", 3)]));
    }
}
