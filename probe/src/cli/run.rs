//! `probe run`: the phases of a profile, each with its load, and one verdict.

use std::path::Path;
use std::time::Duration;

use super::attach::watch;
use super::run_net;
use super::{Outcome, Refusal, RunArgs};
use crate::engine::{RunPlan, check_command, words_of};
use crate::profile::{PhasePlan, Profile};
use crate::target::{self, Root};

/// A profile without phases has one, as long as its load.
const ONLY_PHASE: &str = "load";
/// How long a load may take where no phase says.
const LONGEST: Duration = Duration::from_hours(24);

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<Outcome> {
    watch(&args.watch, None, |profile, roots, out| plan(args, profile, roots, out).map(Some))
}

/// What is to be played; all that can be known to fail is told before anything is attached.
fn plan(args: &RunArgs, profile: &Profile, roots: &[Root], out: &Path) -> Result<RunPlan, Refusal> {
    let given =
        if args.load.is_empty() { profile.load.command.as_deref() } else { Some(args.load.as_slice()) };
    let mut phases = profile.phases.clone();
    if phases.is_empty() {
        if given.is_none() {
            return Err(Refusal::usage(
                "there is nothing to play: the profile has no phases, and there is no load command",
                "add `[[phase]]` to the profile, or a command behind `--`",
            ));
        }
        phases.push(PhasePlan {
            name: ONLY_PHASE.to_owned(),
            duration: LONGEST,
            judged: true,
            net: Vec::new(),
            load: None,
            vars: std::collections::BTreeMap::new(),
        });
    }
    let host = args.host.clone().or_else(|| host_of(roots));
    let commands =
        phases.iter().map(|phase| command(phase, given, host.as_deref())).collect::<Result<_, _>>()?;
    let conditions = run_net::conditions(&phases, roots)?;
    Ok(RunPlan { phases, commands, conditions, load: profile.load.clone(), out: out.to_owned() })
}

/// The load command of a phase, ready to be started.
fn command(
    phase: &PhasePlan,
    given: Option<&[String]>,
    host: Option<&str>,
) -> Result<Option<Vec<String>>, Refusal> {
    let Some(words) = phase.load.as_deref().or(given) else { return Ok(None) };
    if host.is_none() && words.iter().any(|word| word.contains("{host}")) {
        return Err(Refusal::usage(
            "`{host}` in the load command stands for nothing: the target listens on no TCP port",
            "name it with --host URL",
        ));
    }
    let words = words_of(words, phase, host.unwrap_or_default()).map_err(|name| {
        Refusal::usage(
            format!("`{{{name}}}` in the load command stands for nothing in phase `{}`", phase.name),
            format!("define it: vars = {{ {name} = ... }} in the phase"),
        )
    })?;
    check_command(&words).map_err(|what| Refusal::usage(what, "install it, or name it with its path"))?;
    Ok(Some(words))
}

/// Where the target's first listener is reached from here.
fn host_of(roots: &[Root]) -> Option<String> {
    let pids: Vec<u32> = roots.iter().map(|root| root.pid).collect();
    let listener = target::facts::gather(&pids).listeners.into_iter().min_by_key(|listener| listener.port)?;
    let addr = match listener.addr {
        addr if !addr.is_unspecified() => addr,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    Some(format!("http://{}", std::net::SocketAddr::new(addr, listener.port)))
}
