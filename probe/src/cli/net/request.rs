//! From the arguments of `probe net apply` to what the injector is asked for.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use clap::ValueEnum as _;

use super::super::Refusal;
use super::{ApplyArgs, Only};
use crate::inject::plan::{Direction, Target};
use crate::inject::read;
use crate::inject::scope::{Cgroup, Scope};

/// What is asked for, before anything of the machine is looked at.
pub(super) fn targets(args: &ApplyArgs) -> Result<Vec<Target>, Refusal> {
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

/// Where the condition of a phase is put up, as far as its words say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Place {
    /// The device.
    pub(in crate::cli) device: Option<String>,
    /// Who answers echoes there.
    pub(in crate::cli) echo: Option<IpAddr>,
}

impl Place {
    /// Takes `dev=` and `echo=` out of the words of a condition; the rest is what [`more`] reads.
    pub(in crate::cli) fn take(text: &str) -> Result<(Self, String), String> {
        let mut place = Self::default();
        let mut rest = Vec::new();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("dev", device)) => place.device = Some(device.to_owned()),
                Some(("echo", echo)) => {
                    place.echo = Some(echo.parse().map_err(|_| format!("`{echo}` is no address"))?);
                }
                _ => rest.push(word),
            }
        }
        Ok((place, rest.join(" ")))
    }
}

/// `CONDITION key=value …`
pub(in crate::cli) fn more(text: &str) -> Result<Target, String> {
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
    fn the_place_is_taken_out() {
        let (place, rest) = Place::take("poor dev=eth0 port=80 echo=10.0.0.2").unwrap();
        let echo = Some(IpAddr::from([10, 0, 0, 2]));
        assert_eq!((place, rest.as_str()), (Place { device: Some("eth0".to_owned()), echo }, "poor port=80"));
        assert!(Place::take("poor echo=nobody").unwrap_err().contains("`nobody`"));
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
