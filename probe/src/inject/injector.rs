//! Conditions on one device: applied, kept alive, changed over time, proved, and taken back, whatever happens.

mod clean;
mod measure;
mod setup;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::claim::Claim;
use super::classifier::{Classifier, DeadMan};
use super::condition::Link;
use super::encode;
use super::journal::{self, Journal};
use super::netlink::{Device, Netlink};
use super::netns;
use super::plan::{self, Class, Direction, Place, Plan, ROOT, Target};
use super::proof::Proof;
use super::scope::Management;
use super::undo;

/// Without a sign of life for so long the classifier stops by itself.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
/// How often there is one.
const BEAT: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Conditions and their scopes.
    pub targets: Vec<Target>,
    /// The device's name, in the calling thread's network namespace.
    pub device: String,
    /// The service is on the other side of the device.
    pub is_remote: bool,
    /// Put ours in the place of a root queueing discipline that somebody set, and put that back afterwards.
    pub replace_root: bool,
    /// End by itself, also in the kernel.
    pub ttl: Option<Duration>,
    /// Who answers echo requests, where the scopes do not say.
    pub echo: Option<IpAddr>,
    /// Where journals are kept.
    pub folder: PathBuf,
    /// The program that cleans up when this process cannot: `probe`.
    pub guard: Option<PathBuf>,
    /// Set when there is no time left for measurements: what is under way ends with an error.
    pub cancelled: Arc<AtomicBool>,
}

/// Why a request was not carried out; nothing has been changed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Refused(pub Vec<String>);

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Refused(vec![what.into()]).into())
}

/// Conditions in force. Dropping it takes everything back.
pub struct Injector {
    netlink: Netlink,
    device: Device,
    between: Option<Device>,
    request: Request,
    place: Place,
    plan: Plan,
    /// The link of each class now.
    links: Vec<Link>,
    seeds: Vec<u64>,
    egress: Option<Classifier>,
    ingress: Option<Classifier>,
    drops: Option<Classifier>,
    journal: Option<Journal>,
    guard: Option<Child>,
    start: Instant,
    last_beat: Instant,
    measured: measure::Measured,
    /// Let go of last.
    _claim: Option<Claim>,
}

impl Injector {
    /// Whether the device and the kernel can do what is asked for; touches nothing.
    pub fn check(request: &Request) -> Result<()> {
        let device = find(&mut Netlink::open()?, request)?;
        let (place, _) = look(request, &device)?;
        plan::plan(&request.targets, &place).map(drop).map_err(|problems| Refused(problems).into())
    }

    /// Checks everything, then applies it. An error leaves nothing behind.
    pub fn apply(request: Request) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let device = find(&mut netlink, &request)?;
        let own_namespace = netns::own()?;
        let claim = Claim::take(device.index)?;
        if claim.is_none() && !journal::path(&request.folder, own_namespace, device.index).exists() {
            return refuse(format!("another injector is at work on `{}`, out of our sight", device.name));
        }
        let journal = match &claim {
            Some(_) => Journal::open(&request.folder, own_namespace, device.index)?,
            None => None,
        };
        let Some(journal) = journal else {
            return refuse(format!("another injector is at work on `{}`: see `probe net show`", device.name));
        };
        // What a dead one left is swept first, so that it is not taken for the user's.
        let (journal, device) = sweep(&mut netlink, journal, &request, own_namespace, device)?;
        let (place, echo) = look(&request, &device)?;
        let plan = match plan::plan(&request.targets, &place) {
            Ok(plan) => plan,
            Err(problems) => {
                journal.remove()?;
                return Err(Refused(problems).into());
            }
        };
        let mut injector = Self {
            links: plan
                .classes
                .iter()
                .map(|class| link_at(&request.targets, class, Duration::ZERO))
                .collect(),
            seeds: plan.classes.iter().map(|class| seed(&request.targets[class.target], class)).collect(),
            measured: measure::Measured::new(echo),
            journal: Some(journal),
            netlink,
            device,
            between: None,
            place,
            plan,
            egress: None,
            ingress: None,
            drops: None,
            guard: None,
            start: Instant::now(),
            last_beat: Instant::now(),
            request,
            _claim: claim,
        };
        injector.carry_out(own_namespace)?;
        Ok(injector)
    }

    /// Until when the classifier may work without another sign of life.
    fn life(&self) -> Duration {
        let left = self.request.ttl.map_or(HEARTBEAT, |ttl| ttl.saturating_sub(self.start.elapsed()));
        left.min(HEARTBEAT)
    }

    /// To be called again and again: gives a sign of life and follows the schedule. Says how long it may take until the
    /// next call; none when the time is over.
    pub fn tick(&mut self) -> Result<Option<Duration>> {
        let now = self.start.elapsed();
        if self.request.ttl.is_some_and(|ttl| now >= ttl) {
            return Ok(None);
        }
        if self.last_beat.elapsed() >= BEAT || self.request.ttl.is_some() {
            self.last_beat = Instant::now();
            let life = self.life();
            for classifier in [&mut self.egress, &mut self.ingress, &mut self.drops].into_iter().flatten() {
                classifier.live_for(life)?;
            }
            if !self.netlink.devices()?.iter().any(|device| device.index == self.device.index) {
                bail!("the device `{}` has disappeared", self.device.name);
            }
        }
        let mut wait = BEAT;
        for number in 0..self.plan.classes.len() {
            let class = self.plan.classes[number].clone();
            let link = link_at(&self.request.targets, &class, now);
            if link != self.links[number] {
                self.change(&class, number, &link)?;
                tracing::debug!(
                    at_ms = now.as_millis(),
                    direction = class.direction.name(),
                    ?link,
                    "condition changed"
                );
                self.links[number] = link;
            }
            let schedule = &self.request.targets[class.target].condition.schedule;
            if let Some(next) = schedule.next_change(now) {
                wait = wait.min(next.saturating_sub(self.start.elapsed()));
            }
        }
        if let Some(ttl) = self.request.ttl {
            wait = wait.min(ttl.saturating_sub(self.start.elapsed()));
        }
        Ok(Some(wait))
    }

    fn change(&mut self, class: &Class, number: usize, link: &Link) -> Result<()> {
        let index = self.index_of(class);
        self.netlink.set_class(index, ROOT, class.id, "htb", encode::htb_class(plan::shape(link)), false)?;
        if class.has_netem {
            let parent = if class.slice.is_some() { class.tbf() | 1 } else { class.id };
            let options = encode::netem(link, class.limit, Some(self.seeds[number]), true);
            self.netlink.change_qdisc(index, parent, class.netem(), "netem", options)?;
        }
        Ok(())
    }

    /// What ends the impairment when this process dies.
    pub fn dead_man(&self) -> DeadMan {
        let all = [&self.egress, &self.ingress, &self.drops];
        let is_deadline =
            all.into_iter().flatten().any(|classifier| classifier.dead_man() == DeadMan::Deadline);
        if is_deadline { DeadMan::Deadline } else { DeadMan::Link }
    }

    /// Reads back what is in force, and measures it with packets of our own: takes seconds.
    pub fn verify(&mut self) -> Result<Proof> {
        measure::verify(self)
    }

    /// Takes everything back, and says what came of it: the last numbers, and whether traffic is clean again.
    pub fn release(mut self) -> Result<Proof> {
        let counted = measure::last_counts(&mut self);
        self.take_back()?;
        let fastest = measure::fastest(&self);
        self.measured.after(&self.place, fastest)?;
        counted?;
        Ok(measure::finish(&self))
    }

    fn take_back(&mut self) -> Result<()> {
        let mut failure = None;
        for classifier in [self.egress.take(), self.ingress.take(), self.drops.take()].into_iter().flatten() {
            if let Err(error) = classifier.detach() {
                failure.get_or_insert(error);
            }
        }
        if let Some(journal) = self.journal.take()
            && let Err(error) = undo::undo(&mut self.netlink, journal)
        {
            failure.get_or_insert(error);
        }
        if let Some(mut guard) = self.guard.take() {
            // Its input ends, it finds no journal, and goes.
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        if let Err(error) = self.take_back() {
            tracing::error!(error = format!("{error:#}"), "failed to take back all of the network condition");
            let _ = std::io::stderr().flush();
        }
    }
}

/// The device that is asked for.
fn find(netlink: &mut Netlink, request: &Request) -> Result<Device> {
    let Some(device) = netlink.devices()?.into_iter().find(|device| device.name == request.device) else {
        return refuse(format!("no network device has the name `{}`", request.device));
    };
    if device.is_up { Ok(device) } else { refuse(format!("the device `{}` is down", device.name)) }
}

/// What the place is like, and who answers echoes there.
fn look(request: &Request, device: &Device) -> Result<(Place, Option<IpAddr>)> {
    let echo = request.echo.or_else(|| {
        let scopes: Vec<_> = request.targets.iter().map(|target| &target.scope).collect();
        plan::echo_target(&scopes, device.is_loopback)
    });
    let place = Place {
        is_loopback: device.is_loopback,
        mtu: device.mtu,
        is_remote: request.is_remote,
        means: netns::means()?,
        management: Management::find(),
        echo_id: echo_id(),
        echo_is_v6: echo.is_some_and(|echo| echo.is_ipv6()),
    };
    Ok((place, echo))
}

/// Takes back what a dead injector left on a device, and looks at the device again.
fn sweep(
    netlink: &mut Netlink,
    journal: Journal,
    request: &Request,
    netns: u64,
    device: Device,
) -> Result<(Journal, Device)> {
    let is_ours = undo::has_our_root(netlink, device.index)?;
    if journal.entry.changes.is_empty() && !is_ours {
        return Ok((journal, device));
    }
    tracing::info!(device = %device.name, "taking back what an earlier injector left");
    undo::undo(netlink, journal)?;
    undo::remove_root(netlink, device.index)?;
    let device = netlink
        .devices()?
        .into_iter()
        .find(|found| found.index == device.index)
        .context("failed to find the device again")?;
    let journal = Journal::open(&request.folder, netns, device.index)?;
    Ok((journal.context("failed to lock the journal again: another injector was quicker")?, device))
}

/// The link of a class at a time.
fn link_at(targets: &[Target], class: &Class, time: Duration) -> Link {
    let condition = &targets[class.target].condition;
    let (up, down) = condition.schedule.at(time, &condition.up, &condition.down);
    if class.direction == Direction::Down { down } else { up }
}

/// Of a class: from the condition's, or from anywhere.
fn seed(target: &Target, class: &Class) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    let chosen = target.condition.seed.unwrap_or_else(|| RandomState::new().hash_one(class.id));
    chosen.wrapping_add(u64::from(class.id & 1))
}

/// First identifier of our echoes: others on this machine have others.
fn echo_id() -> u16 {
    let pid = std::process::id();
    0x4000 | u16::try_from(pid & 0x3f).unwrap_or(0) << 8
}
