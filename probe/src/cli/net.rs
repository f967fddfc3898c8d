//! `probe net`: conditions by hand. `apply` holds them until it is stopped, `show` tells what is in force, `clear` takes
//! back what nobody holds any more.

mod held;
pub(super) mod request;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::args::parse_duration;
use super::outcome::print_report;
use super::stop::Stop;
use super::{Outcome, Refusal};
use crate::host::{Cap, Caps};
use crate::inject::journal;
use crate::inject::netns::Netns;
use crate::inject::plan::Direction;
use crate::inject::scope::{Cidr, Proto};
use crate::inject::{Injector, Proof, Refused, Request, proof};

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
        NetCommand::Show(args) => held::show(args),
        NetCommand::Clear(args) => held::clear(args),
        NetCommand::Guard { journal } => held::guard(journal),
    }
}

fn apply(args: &ApplyArgs) -> anyhow::Result<Outcome> {
    let stop = Stop::install().context("failed to take over `SIGINT`")?;
    let targets = request::targets(args)?;
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
        cancelled: std::sync::Arc::default(),
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

pub(super) fn check_rights() -> Result<(), Refusal> {
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
