//! The measuring half of the injector: echoes through the classes, counters, read-back.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::condition::Link;
use super::super::encode::{self, NetemHead};
use super::super::ping::{self, Outcome, Series};
use super::super::plan::{Class, Direction, EchoIds, Hook, Place, RATE_ECHO_PAYLOAD};
use super::super::proof::{self, ConditionProof, Proof, RateProof};
use super::Injector;
use super::clean::Clean;

/// Echoes for the round trip.
const RTT_ECHOES: u16 = 21;
/// Echoes for a loss.
const LOSS_ECHOES: u16 = 1000;
const SMALL_PAYLOAD: usize = 24;
/// Packets on the wire for an echo of [`SMALL_PAYLOAD`], roughly.
const SMALL_FRAME: u64 = 80;
/// Faster than that, our own echoes cannot be sure to fill a link: bytes per second (100 Mbit/s).
const FASTEST_MEASURED: u64 = 12_500_000;
/// How long a link is filled.
const FILL: Duration = Duration::from_millis(1200);
/// How often a rate is measured that is not as it should be.
const RATE_TRIES: u32 = 3;
/// Requests come this much faster than the link, in percent.
const OVERLOAD_PERCENT: u32 = 125;

/// What has been measured so far.
#[derive(Debug)]
pub(super) struct Measured {
    echo: Option<IpAddr>,
    before: Clean,
    after: Clean,
    proof: Proof,
}

impl Measured {
    pub(super) fn new(echo: Option<IpAddr>) -> Self {
        Self { echo, before: Clean::default(), after: Clean::default(), proof: Proof::default() }
    }

    pub(super) fn before(&mut self, place: &Place, fastest: Option<u64>) -> Result<()> {
        self.before = Clean::measure(self.echo, place, fastest)?;
        Ok(())
    }

    pub(super) fn after(&mut self, place: &Place, fastest: Option<u64>) -> Result<()> {
        self.after = Clean::measure(self.echo, place, fastest)?;
        Ok(())
    }
}

/// The fastest rate that is asked for and that our echoes can fill, bytes per second.
pub(super) fn fastest(injector: &Injector) -> Option<u64> {
    injector.links.iter().filter_map(|link| link.rate).filter(|rate| *rate <= FASTEST_MEASURED).max()
}

/// Reads back and measures all conditions.
pub(super) fn verify(injector: &mut Injector) -> Result<Proof> {
    let mut proof = Proof {
        device: injector.device.name.clone(),
        dead_man: match injector.dead_man() {
            super::DeadMan::Link => "link".to_owned(),
            super::DeadMan::Deadline => "deadline".to_owned(),
        },
        notes: injector.plan.notes.clone(),
        ..Proof::default()
    };
    if injector.dead_man() == super::DeadMan::Deadline {
        proof.notes.push(format!(
            "this kernel has no tcx: after a SIGKILL traffic is clean within {} s, not at once",
            super::HEARTBEAT.as_secs()
        ));
    }
    proof.problems = read_back(injector)?;
    for index in 0..injector.request.targets.len() {
        let mut condition = condition(injector, index);
        match injector.measured.echo {
            None => proof.problems.push(
                "round trip, loss and rate were not measured: no host is known that answers echoes, name one with --echo"
                    .to_owned(),
            ),
            Some(to) if injector.measured.before.round_trip.is_none() => {
                proof.problems.push(format!("{to} does not answer echoes, so nothing could be measured"));
            }
            Some(to) => {
                measure(injector, index, to, &mut condition)?;
                proof.problems.extend(proof::judge(&condition));
            }
        }
        proof.conditions.push(condition);
    }
    injector.measured.proof = proof.clone();
    Ok(proof)
}

/// What stands in the kernel against what was written there.
fn read_back(injector: &mut Injector) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (number, class) in injector.plan.classes.clone().iter().enumerate() {
        let index = injector.index_of(class);
        let has_class = injector.netlink.classes(index)?.iter().any(|tc| tc.handle == class.id);
        if !has_class {
            problems.push(format!("the class {:x} is gone: somebody took it away", class.id));
            continue;
        }
        if !class.has_netem {
            continue;
        }
        let qdiscs = injector.netlink.qdiscs(index)?;
        let found = qdiscs.iter().find(|tc| tc.handle == class.netem() && tc.kind == "netem");
        let stands = found.and_then(|tc| NetemHead::read(tc.options.as_deref()?));
        let written = NetemHead::read(&encode::netem(&injector.links[number], class.limit, None, false));
        if stands != written {
            problems.push(format!(
                "netem {:x}: reads back as {stands:?}, not as {written:?}",
                class.netem() >> 16
            ));
        }
    }
    Ok(problems)
}

/// The classes of a target, with their links.
fn links_of(injector: &Injector, index: usize) -> Vec<(Class, Link)> {
    let both = injector.plan.classes.iter().zip(&injector.links);
    both.filter(|(class, _)| class.target == index)
        .map(|(class, link)| (class.clone(), link.clone()))
        .collect()
}

/// What is asked of one condition, nothing measured yet.
fn condition(injector: &Injector, index: usize) -> ConditionProof {
    let target = &injector.request.targets[index];
    let mut links: Vec<Link> = Vec::new();
    for (class, link) in links_of(injector, index) {
        // Requests and answers pass it.
        if class.direction == Direction::Both {
            links.push(link.clone());
        }
        links.push(link);
    }
    if links.is_empty() || !injector.plan.drops.is_empty() {
        links.clear();
        let is_used = |direction| target.only.is_none_or(|only| only == direction);
        let stands = |direction: Direction| injector.place.is_loopback || direction == Direction::Up;
        for (direction, link) in
            [(Direction::Up, &target.condition.up), (Direction::Down, &target.condition.down)]
        {
            if is_used(direction) && stands(direction) {
                links.push(link.clone());
            }
        }
    }
    let (rtt, loss) = proof::asked(&links.iter().collect::<Vec<_>>());
    ConditionProof {
        condition: target.condition.name.clone(),
        scope: target.scope.to_string(),
        seed: injector
            .plan
            .classes
            .iter()
            .position(|class| class.target == index)
            .map(|number| injector.seeds[number]),
        rtt,
        loss,
        ..ConditionProof::default()
    }
}

fn measure(injector: &mut Injector, index: usize, to: IpAddr, condition: &mut ConditionProof) -> Result<()> {
    let ids = EchoIds::of(injector.place.echo_id, index);
    let links = links_of(injector, index);
    let slowest = links.iter().filter_map(|(_, link)| link.rate).min();
    // At most half of the slowest link, so that the echoes themselves fill no queue.
    let every = slowest
        .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(2.0 * SMALL_FRAME as f64 / rate as f64))
        .max(Duration::from_millis(2));
    let has_loss = condition.loss.asked > 0.0;
    let mut patience = Duration::from_secs_f64(2.0 * condition.rtt.asked_s + 8.0 * condition.rtt.jitter_s);
    patience += Duration::from_millis(500) + 2 * every;
    let count = if has_loss { LOSS_ECHOES } else { RTT_ECHOES };
    // A link so slow that a thousand echoes take minutes is measured with fewer.
    let affordable = Duration::from_secs(8).as_micros() / every.as_micros().max(1);
    let count = count.min(u16::try_from(affordable).unwrap_or(u16::MAX)).max(RTT_ECHOES);
    let series = Series { to, id: ids.round_trip, count, every, payload: SMALL_PAYLOAD, patience };
    let outcome = echo(injector, &series)?;
    let before = injector.measured.before;
    condition.rtt.before_s = before.round_trip.map(|time| time.as_secs_f64());
    condition.loss.before = before.lost;
    // With jitter the middle of what it spreads.
    let during = if condition.rtt.jitter_s > 0.0 { outcome.median() } else { outcome.undisturbed() };
    condition.rtt.during_s = during.map(|time| time.as_secs_f64());
    condition.loss.sent = outcome.sent;
    condition.loss.lost = outcome.lost();
    for (class, link) in links {
        let Some(asked) = link.rate else { continue };
        condition.rates.push(RateProof {
            direction: class.direction.name().to_owned(),
            asked: asked as f64,
            measured: steady_rate(injector, &class, &link, asked, ids, to)?,
            before: before.rate,
            after: None,
        });
    }
    Ok(())
}

/// Runs a series without letting the deadline pass.
fn echo(injector: &mut Injector, series: &Series) -> Result<Outcome> {
    let series = *series;
    let echoes = std::thread::Builder::new().name("echo".to_owned()).spawn(move || ping::run(&series));
    let echoes = echoes.context("failed to start a thread for echoes")?;
    while !echoes.is_finished() {
        if injector.request.cancelled.load(Ordering::Relaxed) {
            anyhow::bail!("the run ended before the condition was measured");
        }
        injector.tick()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    match echoes.join() {
        Ok(outcome) => outcome.context("failed to measure with echoes"),
        Err(_) => anyhow::bail!("failed to measure with echoes: the thread ended"),
    }
}

/// The rate nearest to what was asked for of a few: a machine that is busy for a moment spoils one of them, a class that
/// is not as it should be all.
fn steady_rate(
    injector: &mut Injector,
    class: &Class,
    link: &Link,
    asked: u64,
    ids: EchoIds,
    to: IpAddr,
) -> Result<Option<f64>> {
    let distance = |rate: f64| (rate / asked as f64 - 1.0).abs();
    let mut nearest: Option<f64> = None;
    for _ in 0..RATE_TRIES {
        let Some(rate) = rate(injector, class, link, asked, ids, to)? else { break };
        if nearest.is_none_or(|nearest| distance(rate) < distance(nearest)) {
            nearest = Some(rate);
        }
        if distance(rate) <= proof::RATE_TOLERANCE {
            break;
        }
    }
    Ok(nearest)
}

/// Fills one direction with large echoes, and times what gets through.
fn rate(
    injector: &mut Injector,
    class: &Class,
    link: &Link,
    asked: u64,
    ids: EchoIds,
    to: IpAddr,
) -> Result<Option<f64>> {
    if asked > FASTEST_MEASURED {
        return Ok(None);
    }
    let is_out = match class.direction {
        Direction::Up if injector.place.is_loopback => true,
        Direction::Down if injector.place.is_loopback => false,
        Direction::Both => true,
        _ => class.hook == Hook::Egress,
    };
    let frame = RATE_ECHO_PAYLOAD + if to.is_ipv6() { ping::OVERHEAD_V6 } else { ping::OVERHEAD_V4 };
    let one = Duration::from_secs_f64(frame as f64 / asked as f64);
    let every = one * 100 / OVERLOAD_PERCENT;
    let burst = u64::from(super::plan::shape(link).burst);
    // What goes at once after a pause says nothing about the rate: the burst, and what the rate itself lets through until
    // the excess over it has used the burst up.
    let unheld = burst.saturating_mul(OVERLOAD_PERCENT.into()) / u64::from(OVERLOAD_PERCENT - 100);
    let skip = usize::try_from(unheld / frame as u64 + 2).unwrap_or(usize::MAX);
    let wanted = u32::try_from(FILL.as_nanos() / every.as_nanos().max(1)).unwrap_or(u32::MAX);
    let count =
        u16::try_from(wanted.max(40).saturating_add(u32::try_from(skip).unwrap_or(0))).unwrap_or(u16::MAX);
    let series = Series {
        to,
        id: if is_out { ids.out } else { ids.back },
        count,
        every,
        payload: RATE_ECHO_PAYLOAD,
        patience: 2 * link.delay + Duration::from_millis(700) + one * class.queue.min(4096),
    };
    let outcome = echo(injector, &series)?;
    let arrivals: Vec<Duration> = outcome.answers.iter().map(|answer| answer.at).collect();
    let Some(counted) = arrivals.get(skip.min(arrivals.len())..) else { return Ok(None) };
    let (Some(first), Some(last)) = (counted.first(), counted.last()) else { return Ok(None) };
    if counted.len() < 10 || last == first {
        return Ok(None);
    }
    Ok(Some((counted.len() - 1) as f64 * frame as f64 / last.saturating_sub(*first).as_secs_f64()))
}

/// Reads the counters for the last time.
pub(super) fn last_counts(injector: &mut Injector) -> Result<()> {
    let mut packets = vec![(0_u64, 0_u64, 0_u64); injector.request.targets.len()];
    let sets = [
        (&injector.egress, &injector.plan.egress),
        (&injector.ingress, &injector.plan.ingress),
        (&injector.drops, &injector.plan.drops),
    ];
    for (classifier, rules) in sets {
        let Some(classifier) = classifier else { continue };
        for (count, owned) in classifier.counts()?.iter().zip(rules) {
            if let Some(target) = owned.target {
                packets[target].0 += count.packets;
                packets[target].1 += count.bytes;
                packets[target].2 += count.dropped;
            }
        }
    }
    let mut proof = std::mem::take(&mut injector.measured.proof);
    if proof.conditions.is_empty() {
        proof.device.clone_from(&injector.device.name);
        proof.conditions = (0..packets.len()).map(|index| condition(injector, index)).collect();
        proof.problems.push("nothing was measured".to_owned());
    }
    for (index, (packets, bytes, dropped)) in packets.into_iter().enumerate() {
        let condition = &mut proof.conditions[index];
        (condition.packets, condition.bytes, condition.lost, condition.overflowed) =
            (packets, bytes, dropped, 0);
        if packets == 0 {
            let problem = format!("no packet matched `{}` on {}", condition.condition, condition.scope);
            proof.problems.push(problem);
        }
    }
    for class in injector.plan.classes.clone() {
        let index = injector.index_of(&class);
        let qdiscs = injector.netlink.qdiscs(index)?;
        let drops =
            |handle| qdiscs.iter().find(|tc| tc.handle == handle).map_or(0, |tc| u64::from(tc.stats.drops));
        let overflowed = drops(class.fifo());
        let condition = &mut proof.conditions[class.target];
        condition.overflowed += overflowed;
        // What its queue drops counts as netem's too.
        condition.lost += if class.has_netem { drops(class.netem()).saturating_sub(overflowed) } else { 0 };
    }
    injector.measured.proof = proof;
    Ok(())
}

/// The whole proof, when all is taken back.
pub(super) fn finish(injector: &Injector) -> Proof {
    let mut proof = injector.measured.proof.clone();
    let (before, after) = (injector.measured.before, injector.measured.after);
    for condition in &mut proof.conditions {
        condition.rtt.after_s = after.round_trip.map(|time| time.as_secs_f64());
        condition.loss.after = after.lost;
        condition.rates.iter_mut().for_each(|rate| rate.after = after.rate);
    }
    proof.problems.extend(proof::judge_after(&proof));
    if let (Some(before), Some(after)) = (before.round_trip, after.round_trip)
        && after > before + Duration::from_millis(5).max(before)
        && proof.conditions.iter().any(|condition| condition.rtt.asked_s > 0.0)
    {
        proof.problems.push(format!(
            "traffic is not clean afterwards: a round trip takes {:.1} ms, {:.1} ms before",
            after.as_secs_f64() * 1e3,
            before.as_secs_f64() * 1e3
        ));
    }
    proof
}
