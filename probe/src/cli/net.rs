//! `probe net`: conditions by hand. `apply` holds them until it is stopped, `show` tells what is in force, `clear` takes
//! back what nobody holds any more.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::args::parse_duration;
use super::outcome::print_report;
use super::stop::Stop;
use super::{Outcome, Refusal};
use crate::host::{Cap, Caps};
use crate::inject::journal::{self, Journal};
use crate::inject::netlink::Netlink;
use crate::inject::netns::{self, Netns};
use crate::inject::plan::{Direction, Target};
use crate::inject::scope::{Cgroup, Cidr, Proto, Scope};
use crate::inject::{Injector, Proof, Refused, Request, classifier, proof, read, undo};

/// How long `clear` waits for an injector that it asks to end, and the guard for one that dies.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `probe net`.
#[derive(Args, Clone, Debug)]
pub struct NetArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: NetCommand,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum NetCommand {
    /// Apply a condition and hold it until Ctrl-C; prints the proof at the end
    Apply(Box<ApplyArgs>),
    /// Say which conditions are in force, and what dead injectors left
    Show(PlaceArgs),
    /// End injectors and take back what is left of dead ones; nothing else is touched
    Clear(PlaceArgs),
    /// Wait for the end of an injector and clean up after it
    #[command(hide = true)]
    Guard {
        /// The injector's journal
        #[arg(long)]
        journal: PathBuf,
    },
}

/// Where.
#[derive(Args, Clone, Debug)]
pub struct PlaceArgs {
    /// Network namespace: of this process, or a file or name as `ip netns` makes them
    #[arg(long, value_name = "PID|PATH")]
    pub netns: Option<Netns>,
    /// Only this device
    #[arg(long, value_name = "DEVICE")]
    pub dev: Option<String>,
    /// Where the journals are
    #[arg(long, value_name = "DIR", default_value = journal::FOLDER, hide = true)]
    pub state: PathBuf,
}

/// Arguments of `probe net apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// A condition: poor, 3g, wifi-lossy … or a file like those in profiles/net
    pub condition: Option<String>,
    /// The device: lo, eth0, a veth …
    #[arg(long, value_name = "DEVICE")]
    pub dev: String,
    /// Network namespace: of this process, or a file or name as `ip netns` makes them
    #[arg(long, value_name = "PID|PATH")]
    pub netns: Option<Netns>,
    /// Set or change a value of the condition, e.g. delay=50ms, loss=1%, up.rate=1mbit
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only packets of this port of the service
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// Only packets from and to these addresses of the other side
    #[arg(long, value_name = "CIDR")]
    pub peer: Vec<Cidr>,
    /// Only packets of this protocol: tcp, udp or icmp
    #[arg(long, value_name = "PROTO")]
    pub proto: Option<Proto>,
    /// Only packets of this control group (version 2)
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Only one direction: up, from the client to the service, or down
    #[arg(long, value_name = "DIRECTION")]
    pub only: Option<Only>,
    /// One more condition with a scope of its own, e.g. "3g port=8000 peer=10.0.0.0/24"
    #[arg(long, value_name = "CONDITION SCOPE")]
    pub also: Vec<String>,
    /// The service is on the other side of the device
    #[arg(long)]
    pub remote: bool,
    /// End by itself after this time, e.g. 30s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// Replace a root queueing discipline that somebody set, and put it back afterwards
    #[arg(long)]
    pub replace_root: bool,
    /// A host on the other side that answers echo requests, to measure with
    #[arg(long, value_name = "ADDRESS")]
    pub echo: Option<IpAddr>,
    /// Seed of all random draws
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Print the proof as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the journals are
    #[arg(long, value_name = "DIR", default_value = journal::FOLDER, hide = true)]
    pub state: PathBuf,
}

/// A direction to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// From the client to the service
    Up,
    /// From the service to the client
    Down,
}

impl From<Only> for Direction {
    fn from(only: Only) -> Self {
        match only {
            Only::Up => Self::Up,
            Only::Down => Self::Down,
        }
    }
}

/// Runs the command.
pub fn run(args: &NetArgs) -> anyhow::Result<Outcome> {
    match &args.command {
        NetCommand::Apply(args) => apply(args),
        NetCommand::Show(args) => show(args),
        NetCommand::Clear(args) => clear(args),
        NetCommand::Guard { journal } => guard(journal),
    }
}

fn apply(args: &ApplyArgs) -> anyhow::Result<Outcome> {
    let stop = Stop::install().context("failed to take over `SIGINT`")?;
    let targets = targets(args)?;
    check_rights()?;
    enter(args.netns.as_ref())?;
    let request = Request {
        targets,
        device: args.dev.clone(),
        is_remote: args.remote,
        replace_root: args.replace_root,
        ttl: args.ttl,
        echo: args.echo,
        folder: args.state.clone(),
        guard: Some(std::env::current_exe().context("failed to find our own program")?),
    };
    let mut injector = Injector::apply(request).map_err(as_refusal)?;
    let applied = injector.verify()?;
    for problem in &applied.problems {
        tracing::warn!("{problem}");
    }
    for condition in &applied.conditions {
        tracing::info!(
            seed = condition.seed,
            "applied {} to {} ({})",
            condition.condition,
            args.dev,
            condition.scope
        );
    }
    tracing::info!("in force, {}", if applied.is_proved() { "proved" } else { "not proved" });
    while !stop.is_asked() {
        let Some(wait) = injector.tick()? else { break };
        stop.wait(wait)?;
    }
    let proof = injector.release()?;
    print_proof(&proof, args.json)?;
    Ok(if proof.is_proved() { Outcome::Ok } else { Outcome::Inconclusive })
}

fn print_proof(proof: &Proof, is_json: bool) -> anyhow::Result<()> {
    let text = if is_json {
        serde_json::to_string_pretty(proof).context("failed to write the proof as JSON")? + "\n"
    } else {
        proof::text(proof)
    };
    let harmless: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    print_report(&harmless).context("failed to write the proof to `stdout`")
}

/// What is asked for, before anything of the machine is looked at.
fn targets(args: &ApplyArgs) -> Result<Vec<Target>, Refusal> {
    let bad = |what: String| Refusal::usage(what, "see `probe net apply --help` and `profiles/net/`");
    let mut condition = match &args.condition {
        Some(name) => read::load(name).map_err(|errors| bad(errors.to_string()))?,
        None if args.set.is_empty() => {
            return Err(bad("no condition is named, and nothing is set".to_owned()));
        }
        None => read::parse("--set", "name = \"custom\"", None, Path::new("."))
            .map_err(|errors| bad(errors.to_string()))?,
    };
    if !args.set.is_empty() {
        let text = settings(&args.set).map_err(bad)?;
        condition = read::parse("--set", &text, Some(&condition), Path::new("."))
            .map_err(|errors| bad(errors.to_string()))?;
    }
    condition.seed = args.seed.or(condition.seed);
    let cgroup = args
        .cgroup
        .as_deref()
        .map(Cgroup::find)
        .transpose()
        .map_err(|what| bad(format!("--cgroup: {what}")))?;
    let scope = Scope { ports: args.port.clone(), peers: args.peer.clone(), proto: args.proto, cgroup };
    let only = args.only.map(Direction::from);
    let mut targets = vec![Target { condition, scope, only }];
    for also in &args.also {
        targets.push(more(also).map_err(|what| bad(format!("--also \"{also}\": {what}")))?);
    }
    Ok(targets)
}

/// `key=value` pairs as TOML; values that are not numbers, tables or truth values become strings.
fn settings(pairs: &[String]) -> Result<String, String> {
    let mut text = String::new();
    for pair in pairs {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| format!("--set {pair}: write it as key=value"))?;
        let is_key = key
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        if !is_key {
            return Err(format!("--set {pair}: `{key}` is no key"));
        }
        let is_plain = value.parse::<f64>().is_ok()
            || value.starts_with(['{', '[', '"', '\''])
            || value.parse::<bool>().is_ok();
        let quoted = if is_plain { value.to_owned() } else { format!("{value:?}") };
        let _ = writeln!(text, "{key} = {quoted}");
    }
    Ok(text)
}

/// `CONDITION key=value …`
fn more(text: &str) -> Result<Target, String> {
    let mut words = text.split_whitespace();
    let name = words.next().ok_or("names no condition")?;
    let condition = read::load(name).map_err(|errors| errors.to_string())?;
    let mut scope = Scope::default();
    let mut only = None;
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not key=value"))?;
        match key {
            "port" => scope.ports.push(
                value.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{value}` is no port"))?,
            ),
            "peer" => scope.peers.push(value.parse().map_err(|what| format!("`{value}` {what}"))?),
            "proto" => scope.proto = Some(value.parse().map_err(|what| format!("`{value}` {what}"))?),
            "cgroup" => scope.cgroup = Some(Cgroup::find(Path::new(value))?),
            "only" => {
                only = Some(
                    Only::from_str(value, false)
                        .map_err(|_| format!("`{value}` is neither up nor down"))?
                        .into(),
                );
            }
            _ => return Err(format!("unknown key `{key}` (port, peer, proto, cgroup, only)")),
        }
    }
    Ok(Target { condition, scope, only })
}

fn check_rights() -> Result<(), Refusal> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let caps = crate::target::status_field(&status, "CapEff").and_then(Caps::parse).unwrap_or_default();
    let missing: Vec<String> = [Cap::NetAdmin, Cap::NetRaw, Cap::Bpf, Cap::SysAdmin]
        .into_iter()
        .filter(|cap| !caps.allows(*cap))
        .map(|cap| cap.to_string())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::unable(
        format!("{} missing: network conditions cannot be changed", missing.join(", ")),
        "run probe with sudo",
    ))
}

fn enter(netns: Option<&Netns>) -> Result<(), Refusal> {
    let entered = netns.map_or(Ok(()), Netns::enter);
    entered.map_err(|error| {
        Refusal::unable(format!("{error:#}"), "name a running process, or a file under /run/netns")
    })
}

fn as_refusal(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Refused>() {
        Ok(Refused(problems)) => Refusal::unable(problems.join("; "), "see `probe net apply --help`").into(),
        Err(error) => error,
    }
}

/// Journals of the namespace that was asked for, or of all where none was.
fn chosen(args: &PlaceArgs) -> anyhow::Result<Vec<(PathBuf, journal::Entry)>> {
    enter(args.netns.as_ref())?;
    let own = netns::own()?;
    let all = journal::all(&args.state).into_iter();
    Ok(all
        .filter(|(_, entry)| entry.netns == own && args.dev.as_ref().is_none_or(|dev| *dev == entry.device))
        .collect())
}

fn show(args: &PlaceArgs) -> anyhow::Result<Outcome> {
    let mut text = String::new();
    for (path, entry) in chosen(args)? {
        let is_dead = Journal::existing(&path)?.is_some();
        let state =
            if is_dead { "left by a dead injector, take it back with `probe net clear`" } else { "in force" };
        let _ = writeln!(text, "{}: {state}, pid {}", entry.device, entry.pid);
        for what in &entry.what {
            let _ = writeln!(text, "  {what}");
        }
    }
    for device in strays(args)? {
        let _ = writeln!(
            text,
            "{}: a root of ours without a journal, take it back with `probe net clear`",
            device.name
        );
    }
    if text.is_empty() {
        text.push_str("no network condition is in force here\n");
    }
    let harmless: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    print_report(&harmless).context("failed to write to `stdout`")?;
    Ok(Outcome::Ok)
}

/// Devices with our root that no journal tells of.
fn strays(args: &PlaceArgs) -> anyhow::Result<Vec<crate::inject::netlink::Device>> {
    let known: Vec<u32> = chosen(args)?.into_iter().map(|(_, entry)| entry.index).collect();
    let mut netlink = Netlink::open()?;
    let mut found = Vec::new();
    for device in netlink.devices()? {
        let is_wanted = args.dev.as_ref().is_none_or(|dev| *dev == device.name);
        let is_between = device.name.starts_with("probe-ifb");
        if is_wanted
            && !is_between
            && !known.contains(&device.index)
            && undo::has_our_root(&mut netlink, device.index)?
        {
            found.push(device);
        }
    }
    Ok(found)
}

fn clear(args: &PlaceArgs) -> anyhow::Result<Outcome> {
    check_rights()?;
    let mut cleared = Vec::new();
    for (path, entry) in chosen(args)? {
        let journal = match Journal::existing(&path)? {
            Some(journal) => Some(journal),
            None => end(&path, &entry)?,
        };
        if let Some(journal) = journal {
            undo::undo(&mut Netlink::open()?, journal)?;
        }
        cleared.push(entry.device);
    }
    for device in strays(args)? {
        if classifier::is_attached(&device.name) {
            bail!(
                "failed to clear `{}`: a living injector that keeps its journal elsewhere holds it",
                device.name
            );
        }
        undo::remove_root(&mut Netlink::open()?, device.index)?;
        cleared.push(device.name);
    }
    let names = if cleared.is_empty() {
        "nothing to clear".to_owned()
    } else {
        format!("cleared {}", cleared.join(", "))
    };
    tracing::info!("{names}");
    Ok(Outcome::Ok)
}

/// Asks a living injector to end; gives its journal where it left one.
fn end(path: &Path, entry: &journal::Entry) -> anyhow::Result<Option<Journal>> {
    let pid = i32::try_from(entry.pid).context("failed to read the injector's pid")?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
        .with_context(|| format!("failed to ask the injector {pid} to end"))?;
    let start = Instant::now();
    while path.exists() {
        if let Some(journal) = Journal::existing(path)? {
            return Ok(Some(journal));
        }
        if start.elapsed() > PATIENCE {
            bail!("failed to end the injector {pid} of `{}` within {} s", entry.device, PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

/// Waits until the other end of its input is closed, which the kernel does for a process that is killed.
fn guard(path: &Path) -> anyhow::Result<Outcome> {
    // What ends an injector must not end who cleans up after it.
    let _ignored = Stop::install().context("failed to take over `SIGINT`")?;
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    let start = Instant::now();
    while path.exists() && start.elapsed() < PATIENCE {
        if let Some(journal) = Journal::existing(path)? {
            undo::undo(&mut Netlink::open()?, journal)?;
            return Ok(Outcome::Ok);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Outcome::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_toml() {
        let pairs =
            ["delay=50ms", "loss=1%", "up.rate=1mbit", "gap=5", "ecn=true", "reorder={ probability = 0.1 }"];
        let text = settings(&pairs.map(str::to_owned)).unwrap();
        assert_eq!(
            text,
            "delay = \"50ms\"\nloss = \"1%\"\nup.rate = \"1mbit\"\ngap = 5\necn = true\nreorder = { probability = 0.1 }\n"
        );
        for bad in ["delay", "=1", "a b=1", ".x=1"] {
            assert!(settings(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn more_conditions_have_their_scopes() {
        let target = more("3g port=8000 port=8001 peer=10.0.0.0/24 proto=tcp only=down").unwrap();
        assert_eq!((target.condition.name.as_str(), target.only), ("3g", Some(Direction::Down)));
        assert_eq!(target.scope.to_string(), "tcp, port 8000, port 8001, peer 10.0.0.0/24");
        for (bad, part) in [
            ("", "no condition"),
            ("3x", "no such"),
            ("3g port=0", "no port"),
            ("3g dev=lo", "unknown key"),
            ("3g only=in", "neither"),
        ] {
            assert!(more(bad).unwrap_err().contains(part), "{bad}");
        }
    }
}
