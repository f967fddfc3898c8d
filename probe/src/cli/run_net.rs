//! The network conditions of the phases of a run: what `net` in a profile means on this machine, for this target.

use std::path::Path;
use std::sync::Arc;

use super::Refusal;
use super::net::{check_rights, request};
use crate::engine::NetPlan;
use crate::inject::netns::{self, Netns};
use crate::inject::{Request, journal};
use crate::profile::PhasePlan;
use crate::target::{self, Root, facts::Facts};

/// Where a load on this machine meets its target.
const LOOPBACK: &str = "lo";
/// Stands for the target's where there is no target.
const ANY_PORT: u16 = 8000;

/// What each phase runs under. What is wrong with a profile is refused; what only this kernel cannot do is told now, and
/// makes the verdicts of its phase inconclusive.
pub(super) fn conditions(phases: &[PhasePlan], roots: &[Root]) -> Result<Vec<Option<NetPlan>>, Refusal> {
    if phases.iter().all(|phase| phase.net.is_empty()) {
        return Ok(vec![None; phases.len()]);
    }
    let pids: Vec<u32> = roots.iter().map(|root| root.pid).collect();
    let (ports, netns) = place(&target::facts::gather(&pids));
    let plans: Vec<Option<NetPlan>> =
        phases.iter().map(|phase| of_phase(phase, &ports, netns.as_ref())).collect::<Result<_, _>>()?;
    for (phase, plan) in phases.iter().zip(&plans) {
        if let Some(Err(error)) = plan.as_ref().map(is_possible) {
            tracing::warn!(
                phase = phase.name,
                "the network condition `{}` cannot be injected, so nothing of the phase will be judged: {error:#}",
                phase.net.join(", ")
            );
        }
    }
    Ok(plans)
}

/// The phases whose condition cannot be had, each with the reason. Without a target any port does: what is asked is
/// whether the kernel can.
pub(super) fn unavailable(phases: &[PhasePlan], facts: Option<&Facts>) -> Vec<(String, String)> {
    let (ports, netns) = facts.map_or_else(|| (vec![ANY_PORT], None), place);
    let problem = |phase: &PhasePlan| {
        let why = match of_phase(phase, &ports, netns.as_ref()) {
            Ok(plan) => format!("{:#}", plan.as_ref().map(is_possible)?.err()?),
            Err(refusal) => refusal.to_string(),
        };
        Some((phase.name.clone(), why))
    };
    phases.iter().filter_map(problem).collect()
}

/// Where a target is met: its ports, and its network namespace where that is not ours.
fn place(facts: &Facts) -> (Vec<u16>, Option<Netns>) {
    let mut ports: Vec<u16> = facts.listeners.iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    ports.dedup();
    (ports, facts.is_other_net_ns.then_some(Netns::Pid(facts.pid)))
}

/// Whether this user can put it up on this machine; touches nothing.
fn is_possible(plan: &NetPlan) -> anyhow::Result<()> {
    check_rights().map_err(anyhow::Error::from).and_then(|()| plan.check())
}

fn of_phase(phase: &PhasePlan, ports: &[u16], netns: Option<&Netns>) -> Result<Option<NetPlan>, Refusal> {
    if phase.net.is_empty() {
        return Ok(None);
    }
    let bad = |what: String| {
        Refusal::usage(
            format!("phase `{}`: {what}", phase.name),
            "see `profiles/net/` and `probe net --help`",
        )
    };
    let mut targets = Vec::new();
    let (mut device, mut echo) = (None, None);
    for text in &phase.net {
        let (place, text) = request::Place::take(text).map_err(bad)?;
        let mut target = request::more(&text).map_err(|what| bad(format!("`net`: {what}")))?;
        if target.scope.ports.is_empty() && target.scope.cgroup.is_none() {
            target.scope.ports = ports.to_vec();
        }
        if target.scope.is_everything() {
            return Err(bad(
                "the target listens on no port, so that `net` has no scope: name one as in `poor port=8000`"
                    .to_owned(),
            ));
        }
        if device.is_some() && place.device.is_some() && device != place.device {
            return Err(bad("`net` names two devices; all conditions of a phase are on one".to_owned()));
        }
        (device, echo) = (place.device.or(device), place.echo.or(echo));
        targets.push(target);
    }
    let device = match (device, netns) {
        (Some(device), _) => device,
        (None, None) => LOOPBACK.to_owned(),
        (None, Some(netns)) => netns::outward_device(netns).map_err(|error| bad(format!("{error:#}")))?,
    };
    let plan = NetPlan {
        request: Request {
            targets,
            device,
            is_remote: false,
            replace_root: false,
            ttl: None,
            echo,
            folder: Path::new(journal::FOLDER).to_owned(),
            guard: std::env::current_exe().ok(),
            cancelled: Arc::default(),
        },
        netns: netns.cloned(),
    };
    Ok(Some(plan))
}
