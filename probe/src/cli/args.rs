//! The arguments of `attach`, `run` and `doctor`, and the parsers of their values.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::results::Format;
use crate::probes::rungs;

/// Where the kernel publishes its type information.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Which processes to watch: exactly one of these.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub struct TargetArgs {
    /// Watch this process with its workers and all children
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// Watch the processes that listen on this TCP port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Watch the processes of this control group (a path under /sys/fs/cgroup)
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
}

impl TargetArgs {
    /// One of them was given.
    pub const fn is_given(&self) -> bool {
        self.pid.is_some() || self.port.is_some() || self.cgroup.is_some()
    }
}

/// Arguments of `probe attach`.
#[derive(Args, Clone, Debug)]
pub struct AttachArgs {
    /// What is watched, and how.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// End after this time, e.g. 60s, 5m, 1h; otherwise at Ctrl-C or when the target exits
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
}

/// Arguments of `probe run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What is watched, and how.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// What `{host}` in the load command stands for [default: http://ADDRESS:PORT of the target's first listener]
    #[arg(long, value_name = "URL")]
    pub host: Option<String>,
    /// The load command, for every phase that has none of its own; {users}, {phase}, {duration}, {seconds} and {host}
    /// are replaced
    #[arg(last = true, value_name = "LOAD COMMAND")]
    pub load: Vec<String>,
}

/// What is watched, and how.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["pid", "port", "cgroup"]))]
pub struct WatchArgs {
    /// Which processes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Objectives and routes (TOML) [default: a general table for APIs, profiles/default.toml]
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Directory for the results, new or empty [default: runs/<time>-<pid>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keep the decoded events too, so that `probe report` can make the report again
    #[arg(long)]
    pub record: bool,
    /// Watch only the processes found now, not those they create later
    #[arg(long)]
    pub no_children: bool,
    /// Watch with these probes only, e.g. socket
    #[arg(long, value_name = "PROBES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Watch without these probes
    #[arg(long, value_name = "PROBES", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// What the run may cost, kernel programs and probe together, in percent of one core, e.g. 1%: past it SQLite
    /// statements go, then all but a sample of the connections
    #[arg(long, value_name = "PERCENT", value_parser = parse_budget, allow_hyphen_values = true)]
    pub budget: Option<f64>,
    /// How often GPUs are looked at, 10ms to 60s; slow figures at most once a second
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_gpu_interval)]
    pub gpu_interval: Duration,
    /// The library of the GPU's driver [default: the installed one]
    #[arg(long, value_name = "FILE", hide = true)]
    pub nvml: Option<PathBuf>,
    /// Form of the report on stdout; the directory gets all of them
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// What an inconclusive verdict counts as [default: an exit code of its own, 4]
    #[arg(long, value_name = "AS")]
    pub inconclusive: Option<InconclusiveAs>,
    /// Size of the ring buffer between kernel and probe, MiB, a power of two
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = parse_ring_mib, hide = true)]
    pub ring_mib: u32,
    /// The kernel's type information
    #[arg(long, value_name = "FILE", default_value = KERNEL_BTF, hide = true)]
    pub btf: PathBuf,
    /// Do without these kernel programs, as where the kernel refuses them
    #[arg(long, value_name = "PROGRAMS", value_delimiter = ',', value_parser = parse_rung, hide = true)]
    pub force_rung: Vec<String>,
}

/// Arguments of `probe doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Also say what can be seen of these processes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// The library of the GPU's driver [default: the installed one]
    #[arg(long, value_name = "FILE", hide = true)]
    pub nvml: Option<PathBuf>,
    /// Also say whether a load test by this profile is worth running: the questions of the readiness audit
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// The kernel's type information
    #[arg(long, value_name = "FILE", default_value = KERNEL_BTF, hide = true)]
    pub btf: PathBuf,
    /// Do without these kernel programs, as where the kernel refuses them
    #[arg(long, value_name = "PROGRAMS", value_delimiter = ',', value_parser = parse_rung, hide = true)]
    pub force_rung: Vec<String>,
}

/// What `--inconclusive` maps an inconclusive verdict to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InconclusiveAs {
    /// As a failed objective: exit code 3
    Fail,
    /// As a warning: exit code 0
    Warn,
    /// As a pass: exit code 0
    Pass,
}

/// What the kernel has not always, and can be done without.
fn parse_rung(text: &str) -> Result<String, String> {
    let names: Vec<&str> = rungs::names().collect();
    if names.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("nothing that can be done without; there are {}", names.join(", ")))
}

/// Parses a time span: a number with `ms`, `s`, `m` or `h`; a bare number is seconds.
/// At least 1 ms, at most 30 days.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}`, use ms, s, m or h (60s, 5m, 1h)")),
    };
    let number: f64 =
        number.parse().map_err(|_| "not a time span, write a number and a unit (60s, 5m, 1h)".to_owned())?;
    let seconds = number * seconds_per_unit;
    if !(0.001..=30.0 * 86_400.0).contains(&seconds) {
        return Err("must be between 1ms and 30 days (720h)".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Parses a share of one core in percent, above 0 % and at most 100 %.
fn parse_budget(text: &str) -> Result<f64, String> {
    let number = text
        .strip_suffix('%')
        .map(str::trim_end)
        // `f64` also reads `1e-3`, `inf` and `+1`.
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        .and_then(|number| number.parse::<f64>().ok())
        .ok_or("not a share of one core, write a percentage (1%, 0.5%)")?;
    if number > 0.0 && number <= 100.0 {
        Ok(number / 100.0)
    } else {
        Err("must be above 0% and at most 100% of one core".to_owned())
    }
}

/// A driver's own samples span 20 ms at least, so that more often brings nothing; past a minute there would be too
/// little of a run to join anything with.
fn parse_gpu_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if (Duration::from_millis(10)..=Duration::from_mins(1)).contains(&interval) {
        Ok(interval)
    } else {
        Err("must be between 10ms and 60s".to_owned())
    }
}

/// The kernel takes ring buffers of a power of two of pages, in `max_entries: u32` bytes.
fn parse_ring_mib(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(mib) if mib.is_power_of_two() && mib <= 1024 => Ok(mib),
        _ => Err("must be a power of two from 1 to 1024".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("60s", Some(60_000)),
            ("60", Some(60_000)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("0", None),
            ("0s", None),
            ("-1s", None),
            ("s", None),
            ("1d", None),
            ("1.2.3s", None),
            ("nan", None),
            ("99999999h", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn budgets() {
        for (text, expected) in [
            ("1%", Some(0.01)),
            ("0.5%", Some(0.005)),
            ("2 %", Some(0.02)),
            ("100%", Some(1.0)),
            ("0%", None),
            ("0", None),
            ("1", None),
            ("-1%", None),
            ("+1%", None),
            ("100.1%", None),
            ("1e-3%", None),
            ("nan%", None),
            ("inf%", None),
            ("%", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(parse_budget(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn gpu_intervals() {
        for (text, ok) in [("10ms", true), ("1m", true), ("9ms", false), ("61s", false), ("often", false)] {
            assert_eq!(parse_gpu_interval(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn ring_sizes() {
        for (text, ok) in
            [("1", true), ("16", true), ("0", false), ("3", false), ("2048", false), ("x", false)]
        {
            assert_eq!(parse_ring_mib(text).is_ok(), ok, "{text}");
        }
    }
}
