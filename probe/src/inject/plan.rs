//! From conditions and scopes to classes and rules. Pure: what the device and the kernel are like comes in, what to do
//! goes out, and everything that cannot be done is refused here, before anything is touched.

mod planner;

use std::net::IpAddr;

use probe_common::inject::{MAX_RULES, Rule};

use planner::Planner;

use super::condition::{Condition, Link, MAX_QUEUE, MAX_RATE};
use super::encode::Shape;
use super::scope::{Cidr, Management, Scope};

/// Our root's handle; nobody else has it.
pub const ROOT: u32 = 0x504f_0000;
/// Conditions at a time.
pub const MAX_SCOPES: usize = 12;
/// The MTU that a loopback device gets where packets have fates of their own.
pub const LOOPBACK_MTU: u32 = 1500;
/// Room for the link layer on top of the MTU: Ethernet and a VLAN tag.
const LINK_HEAD: u32 = 18;
/// Bytes of our large echoes: with its headers such a packet fits everywhere.
pub const RATE_ECHO_PAYLOAD: usize = 1200;
/// netem's queue, packets.
const MIN_LIMIT: u32 = 1000;
const MAX_LIMIT: u64 = 1_000_000;
/// What a link without a rate is taken to carry at most, bytes per second (10 Gbit/s).
const ASSUMED_RATE: u64 = 1_250_000_000;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the service.
    Up,
    /// From the service to the client.
    Down,
    /// Cannot be told apart.
    Both,
}

impl Direction {
    /// One word for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "each way",
        }
    }
}

/// Where packets are caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// On their way out of the device.
    Egress,
    /// On their way in, over a device that stands between.
    Ingress,
}

/// One condition and what it is for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The condition.
    pub condition: Condition,
    /// Which packets.
    pub scope: Scope,
    /// Only this way; the other stays clean.
    pub only: Option<Direction>,
}

/// What the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to one question")]
pub struct Means {
    /// sch_htb
    pub htb: bool,
    /// sch_netem
    pub netem: bool,
    /// sch_tbf
    pub tbf: bool,
    /// ifb devices, cls_u32 and act_mirred
    pub ifb: bool,
}

/// The place.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The device leads to this very host.
    pub is_loopback: bool,
    /// The device's largest packet.
    pub mtu: u32,
    /// The service is on the other side of the device.
    pub is_remote: bool,
    /// What the kernel has.
    pub means: Means,
    /// Never touched.
    pub management: Option<Management>,
    /// First identifier of our own echo packets.
    pub echo_id: u16,
    /// They go to an IPv6 address.
    pub echo_is_v6: bool,
}

/// More than any super-packet has, bytes.
pub const WHOLE: u32 = 1 << 20;

/// One class with its link.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Index of the target.
    pub target: usize,
    /// Whose packets.
    pub direction: Direction,
    /// Where.
    pub hook: Hook,
    /// Class id: the upper half is [`ROOT`]'s.
    pub id: u32,
    /// Largest packet that passes the slicer in one piece; none where there is no slicer.
    ///
    /// Each netem has one above it, also where packets stay [`WHOLE`]: a netem with a queue below it that was not told of
    /// (before 6.13 and its relatives: "account for backlog updates from child qdisc") says that it is empty while the
    /// queue is not, htb believes it, and the last packets of a burst stay until the next ones come. A tbf counts itself.
    pub slice: Option<u32>,
    /// A netem is part of it.
    pub has_netem: bool,
    /// netem's queue, packets: for the largest of all links that the schedule leads to.
    pub limit: u32,
    /// Packets that wait for the rate.
    pub queue: u32,
}

impl Class {
    fn handle(&self, base: u32) -> u32 {
        (base + (self.id & 0xff)) << 16
    }

    /// Handle of the slicer below it.
    #[must_use]
    pub fn tbf(&self) -> u32 {
        self.handle(0x5100)
    }

    /// Handle of its netem.
    #[must_use]
    pub fn netem(&self) -> u32 {
        self.handle(0x5200)
    }

    /// Handle of the queue that waits for the rate.
    #[must_use]
    pub fn fifo(&self) -> u32 {
        self.handle(0x5300)
    }
}

/// A rule, and which target it counts for; none for our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedRule {
    /// The target.
    pub target: Option<usize>,
    /// For the classifier.
    pub rule: Rule,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Classes at both hooks.
    pub classes: Vec<Class>,
    /// Rules of the egress classifier.
    pub egress: Vec<OwnedRule>,
    /// Rules of the classifier on the device between.
    pub ingress: Vec<OwnedRule>,
    /// Rules of the dropper at ingress, where the kernel has no netem.
    pub drops: Vec<OwnedRule>,
    /// The MTU to set.
    pub mtu: Option<u32>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// netem's queue for a link, packets: half as much again as fit on the way, at the longest delay that four deviations
/// of jitter make, and what waits for the rate.
#[must_use]
pub fn limit(link: &Link, mtu: u32) -> u32 {
    let rate = u128::from(link.rate.unwrap_or(ASSUMED_RATE));
    let delay = link.delay.as_nanos() + 4 * link.jitter.as_nanos();
    let in_flight = rate * delay * 3 / 2 / 1_000_000_000 / u128::from(mtu.clamp(64, 9000));
    let packets = u64::try_from(in_flight).unwrap_or(u64::MAX).saturating_add(u64::from(queue(link)));
    u32::try_from(packets.min(MAX_LIMIT)).unwrap_or(u32::MAX).max(MIN_LIMIT)
}

/// Packets that wait for the rate: a quarter of a second, where the condition does not say.
#[must_use]
pub fn queue(link: &Link) -> u32 {
    let Some(rate) = link.rate else { return MIN_LIMIT };
    let usual = || u32::try_from(rate / 4 / 1500).unwrap_or(MAX_QUEUE).clamp(20, MAX_QUEUE);
    link.queue.unwrap_or_else(usual)
}

/// The class's rate and burst: 10 ms of the rate where the condition does not say; no limit is 100 Gbit/s.
#[must_use]
pub fn shape(link: &Link) -> Shape {
    let rate = link.rate.unwrap_or(MAX_RATE);
    let usual = u32::try_from(rate / 100).unwrap_or(u32::MAX).clamp(3_200, 12_500_000);
    Shape { rate, burst: link.burst.unwrap_or(usual) }
}

/// Makes the plan, or says all that stands against it.
pub fn plan(targets: &[Target], place: &Place) -> Result<Plan, Vec<String>> {
    let mut planner = Planner {
        place,
        problems: Vec::new(),
        plan: Plan {
            classes: Vec::new(),
            egress: Vec::new(),
            ingress: Vec::new(),
            drops: Vec::new(),
            mtu: None,
            notes: Vec::new(),
        },
    };
    if targets.len() > MAX_SCOPES {
        planner.problems.push(format!("at most {MAX_SCOPES} conditions at a time"));
    }
    if !place.means.htb {
        planner.problems.push("the kernel lacks sch_htb: nothing can be injected".to_owned());
    }
    planner.spare_management();
    for (index, target) in targets.iter().enumerate().take(MAX_SCOPES) {
        planner.target(index, target);
    }
    let n_rules = planner.plan.egress.len().max(planner.plan.ingress.len()).max(planner.plan.drops.len());
    if n_rules > MAX_RULES as usize {
        planner.problems.push(format!("{n_rules} rules, but {MAX_RULES} fit: name fewer ports and peers"));
    }
    if planner.plan.classes.is_empty() && planner.plan.drops.is_empty() && planner.problems.is_empty() {
        planner.problems.push("the conditions change nothing".to_owned());
    }
    if planner.problems.is_empty() { Ok(planner.plan) } else { Err(planner.problems) }
}

/// Identifiers of our echo packets for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoIds {
    /// Requests and answers go through their classes.
    pub round_trip: u16,
    /// Only requests do.
    pub out: u16,
    /// Only answers do.
    pub back: u16,
}

impl EchoIds {
    /// Of a target, from the first identifier on.
    #[must_use]
    pub fn of(first: u16, index: usize) -> Self {
        let base = first.wrapping_add(4 * u16::try_from(index).unwrap_or(0));
        Self { round_trip: base, out: base.wrapping_add(1), back: base.wrapping_add(2) }
    }
}

/// Whom to ask for echoes: the loopback address, or the only address that a scope names.
#[must_use]
pub fn echo_target(scopes: &[&Scope], is_loopback: bool) -> Option<IpAddr> {
    let single = scopes.iter().flat_map(|scope| &scope.peers).find_map(Cidr::single);
    if is_loopback { Some(IpAddr::from([127, 0, 0, 1])) } else { single }
}

#[cfg(test)]
mod tests;
