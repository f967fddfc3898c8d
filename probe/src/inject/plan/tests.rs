//! Which classes and rules conditions lead to, and what is refused.

use std::time::Duration;

use super::super::condition::{Chance, Loss};
use super::super::schedule::{Flap, Schedule};
use super::*;
use proptest::prelude::*;

const ALL: Means = Means { htb: true, netem: true, tbf: true, ifb: true };

fn place(is_loopback: bool) -> Place {
    Place {
        is_loopback,
        mtu: if is_loopback { 65536 } else { 1500 },
        is_remote: false,
        means: ALL,
        management: None,
        echo_id: 0x5000,
        echo_is_v6: false,
    }
}

fn delay(ms: u64) -> Link {
    Link { delay: Duration::from_millis(ms), ..Link::default() }
}

fn loss(probability: f64) -> Link {
    Link { loss: Loss::Random(Chance { probability, correlation: 0.0 }), ..Link::default() }
}

fn target(up: Link, down: Link, ports: &[u16]) -> Target {
    let condition = Condition {
        name: "c".to_owned(),
        about: None,
        sources: Vec::new(),
        up,
        down,
        schedule: Schedule::default(),
        seed: None,
    };
    Target { condition, scope: Scope { ports: ports.to_vec(), ..Scope::default() }, only: None }
}

fn refused(targets: &[Target], place: &Place) -> String {
    plan(targets, place).unwrap_err().join("; ")
}

/// On lo both ways are egress and are told apart by the service's port.
#[test]
fn loopback_by_port() {
    let plan = plan(&[target(delay(10), delay(20), &[8000])], &place(true)).unwrap();
    let classes: Vec<_> = plan.classes.iter().map(|class| (class.direction, class.hook, class.id)).collect();
    assert_eq!(
        classes,
        [(Direction::Up, Hook::Egress, 0x504f_0002), (Direction::Down, Hook::Egress, 0x504f_0003)]
    );
    let traffic: Vec<_> =
        plan.egress.iter().filter(|owned| owned.target.is_some()).map(|owned| owned.rule).collect();
    assert_eq!((traffic[0].dest_port, traffic[0].source_port, traffic[0].class), (8000, 0, 0x504f_0002));
    assert_eq!((traffic[1].dest_port, traffic[1].source_port, traffic[1].class), (0, 8000, 0x504f_0003));
    assert_eq!((plan.mtu, &plan.ingress, &plan.drops), (None, &vec![], &vec![]));
    // A request of ours goes up, its answer down.
    let own: Vec<_> =
        plan.egress.iter().filter(|owned| owned.target.is_none()).map(|owned| owned.rule).collect();
    let round_trip: Vec<_> =
        own.iter().filter(|rule| rule.echo_id == 0x5000).map(|rule| (rule.icmp_type, rule.class)).collect();
    assert_eq!(round_trip, [(8, 0x504f_0002), (0, 0x504f_0003)]);
}

/// On another device what comes in is caught there, and an end that is clean needs nothing.
#[test]
fn devices_have_two_hooks() {
    let both = plan(&[target(delay(10), delay(20), &[])], &place(false)).unwrap();
    assert_eq!(
        both.classes.iter().map(|class| class.hook).collect::<Vec<_>>(),
        [Hook::Ingress, Hook::Egress]
    );
    let remote = Place { is_remote: true, ..place(false) };
    let both = plan(&[target(delay(10), delay(20), &[])], &remote).unwrap();
    assert_eq!(
        both.classes.iter().map(|class| class.hook).collect::<Vec<_>>(),
        [Hook::Egress, Hook::Ingress]
    );
    let down = plan(&[target(Link::default(), delay(20), &[])], &place(false)).unwrap();
    assert!(down.ingress.is_empty() && down.classes.len() == 1);
}

/// Packets with fates of their own are packets: sliced, and on lo of an ordinary size.
#[test]
fn losses_are_per_packet() {
    let made = plan(&[target(loss(0.01), loss(0.01), &[80])], &place(true)).unwrap();
    assert_eq!((made.mtu, made.classes[0].slice), (Some(1500), Some(1518)));
    let delayed = plan(&[target(delay(5), delay(5), &[80])], &place(true)).unwrap();
    assert_eq!((delayed.mtu, delayed.classes[0].slice), (None, Some(WHOLE)));
}

#[test]
fn what_cannot_be_is_refused() {
    let loopback = place(true);
    assert!(refused(&[target(loss(1.0), loss(1.0), &[])], &loopback).contains("loses every packet"));
    let mut flapping = target(delay(5), delay(5), &[]);
    flapping.condition.schedule.flap =
        Some(Flap { every: Duration::from_secs(2), away: Duration::from_secs(1) });
    assert!(refused(&[flapping], &loopback).contains("loses every packet"));
    assert!(plan(&[target(loss(1.0), loss(1.0), &[80])], &loopback).is_ok());
    assert!(refused(&[target(delay(1), delay(2), &[])], &loopback).contains("cannot be told apart"));
    assert!(refused(&[target(Link::default(), Link::default(), &[])], &loopback).contains("change nothing"));
    let many: Vec<u16> = (1..=200).collect();
    assert!(refused(&[target(delay(1), delay(1), &many)], &loopback).contains("rules"));
    let bare = Place { means: Means { htb: false, ..ALL }, ..loopback };
    assert!(refused(&[target(delay(1), delay(1), &[80])], &bare).contains("lacks sch_htb"));
}

/// Without netem: delays are refused by name, rates work, and losses on ingress are made by a program.
#[test]
fn kernels_without_netem() {
    let without = Means { netem: false, ..ALL };
    let loopback = Place { means: without, ..place(true) };
    assert!(refused(&[target(delay(1), delay(1), &[80])], &loopback).contains("lacks sch_netem"));
    let rate = Link { rate: Some(125_000), ..Link::default() };
    let made = plan(&[target(rate.clone(), rate, &[80])], &loopback).unwrap();
    assert!(made.classes.len() == 2 && made.drops.is_empty() && !made.classes[0].has_netem);
    let made = plan(&[target(loss(0.5), loss(0.5), &[80])], &loopback).unwrap();
    assert!(made.classes.is_empty() && made.egress.is_empty());
    assert!(made.drops.iter().all(|owned| owned.rule.loss == 0x8000_0000), "{:?}", made.drops);
    let ethernet = Place { means: without, ..place(false) };
    assert!(refused(&[target(loss(0.1), loss(0.1), &[80])], &ethernet).contains("on their way in only"));
    assert!(plan(&[target(loss(0.1), Link::default(), &[80])], &ethernet).is_ok());
}

/// The connection that this machine is managed by matches first, and is left alone.
#[test]
fn management_is_spared() {
    let management = Management { peer: "10.0.0.9:50022".parse().unwrap(), port: 22 };
    let place = Place { management: Some(management), ..place(false) };
    let plan = plan(&[target(delay(10), delay(20), &[])], &place).unwrap();
    for rules in [&plan.egress, &plan.ingress] {
        assert!(rules[..2].iter().all(|owned| owned.rule.class == 0 && owned.rule.proto == 6));
        assert!(rules[2..].iter().all(|owned| owned.rule.class != 0));
    }
}

proptest! {
    /// The queue holds what is on the way at the asked rate, and is never out of the kernel's range.
    #[test]
    fn limits_fit(ms in 0u64..60_000, rate in 25u64..12_500_000_000, mtu in 64u32..65_536) {
        let link = Link { rate: Some(rate), ..delay(ms) };
        let packets = rate * ms / 1000 / u64::from(mtu.min(9000));
        let limit = u64::from(limit(&link, mtu));
        prop_assert!(limit >= packets.min(1_000_000) && (1000..=2_000_000).contains(&limit));
    }

    /// Whatever the targets, classes have ids of their own and rules lead to classes that are there.
    #[test]
    fn rules_lead_to_classes(n in 1usize..=12, is_loopback: bool, up in 0u64..50, down in 1u64..50) {
        let targets: Vec<_> = (0..n).map(|n| target(delay(up), delay(down), &[u16::try_from(n).unwrap() + 1])).collect();
        if let Ok(plan) = plan(&targets, &place(is_loopback)) {
            let mut ids: Vec<u32> = plan.classes.iter().map(|class| class.id).collect();
            prop_assert!(plan.egress.iter().chain(&plan.ingress).all(|owned| ids.contains(&owned.rule.class)));
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), plan.classes.len());
        }
    }
}
