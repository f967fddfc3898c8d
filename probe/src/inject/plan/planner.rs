//! The plan in the making: each condition becomes classes and rules, or a problem that speaks against it.

use probe_common::inject::{FLOW_ANSWER, FLOW_LEARN, ICMP_ANY, PEER_ANY, PEER_DEST, PEER_SOURCE, Rule};

use super::super::condition::Link;
use super::super::encode::probability;
use super::super::scope::{Cidr, Proto};
use super::{
    Class, Direction, EchoIds, Hook, LINK_HEAD, LOOPBACK_MTU, MIN_LIMIT, OwnedRule, Place, Plan, ROOT,
    Target, WHOLE, limit, queue,
};

pub(super) struct Planner<'a> {
    pub(super) place: &'a Place,
    pub(super) problems: Vec<String>,
    pub(super) plan: Plan,
}

impl Planner<'_> {
    /// The first rules: they match before any other, and leave the packet alone.
    pub(super) fn spare_management(&mut self) {
        let Some(management) = self.place.management else { return };
        let (peer, mask) = Cidr::host(management.peer.ip()).words();
        let own = Rule { proto: Proto::Tcp.number(), icmp_type: ICMP_ANY, peer, mask, ..Rule::default() };
        let out = Rule {
            source_port: management.port,
            dest_port: management.peer.port(),
            peer_is: PEER_DEST,
            ..own
        };
        let back = Rule {
            source_port: management.peer.port(),
            dest_port: management.port,
            peer_is: PEER_SOURCE,
            ..own
        };
        for rules in [&mut self.plan.egress, &mut self.plan.ingress, &mut self.plan.drops] {
            rules.extend([out, back].map(|rule| OwnedRule { target: None, rule }));
        }
    }

    pub(super) fn target(&mut self, index: usize, target: &Target) {
        let name = &target.condition.name;
        let (ups, downs) = target.condition.schedule.extremes(&target.condition.up, &target.condition.down);
        let is_wanted = |direction| target.only.is_none_or(|only| only == direction);
        let is_used = |links: &[Link]| links.iter().any(|link| !link.is_clean());
        let has_up = is_wanted(Direction::Up) && is_used(&ups);
        let has_down = is_wanted(Direction::Down) && is_used(&downs);
        let loses_all = |links: &[Link]| links.iter().any(|link| link.loss.long_run() >= 1.0);
        if target.scope.is_everything() && (has_up && loses_all(&ups) || has_down && loses_all(&downs)) {
            self.problems.push(format!(
                "`{name}` loses every packet, and no scope says of what: name a port, a peer or a control group"
            ));
        }
        let cannot_tell =
            self.place.is_loopback && target.scope.ports.is_empty() && target.scope.cgroup.is_none();
        if cannot_tell {
            if target.only.is_some() || ups != downs {
                self.problems.push(format!(
                    "`{name}` differs by direction, which cannot be told apart on a loopback device without the \
                     service's port"
                ));
            } else if has_up {
                self.class(index, target, Direction::Both, &ups);
            }
            return;
        }
        for (direction, is_used, links) in
            [(Direction::Up, has_up, &ups), (Direction::Down, has_down, &downs)]
        {
            if is_used {
                self.class(index, target, direction, links);
            }
        }
    }

    fn hook(&self, direction: Direction) -> Hook {
        let comes_in = match direction {
            Direction::Up => !self.place.is_remote,
            Direction::Down => self.place.is_remote,
            Direction::Both => false,
        };
        if comes_in && !self.place.is_loopback { Hook::Ingress } else { Hook::Egress }
    }

    fn class(&mut self, index: usize, target: &Target, direction: Direction, links: &[Link]) {
        let hook = self.hook(direction);
        let means = self.place.means;
        let name = &target.condition.name;
        let mut needs: Vec<&str> = links.iter().flat_map(Link::needs_netem).collect();
        needs.sort_unstable();
        needs.dedup();
        let is_lossy = links.iter().any(|link| !link.loss.is_none());
        if !means.netem && !needs.is_empty() {
            self.problems.push(format!(
                "this kernel lacks sch_netem, which `{name}` needs for {} ({})",
                needs.join(", "),
                direction.name()
            ));
            return;
        }
        if hook == Hook::Ingress && target.scope.cgroup.is_some() {
            self.problems.push(format!(
                "`{name}` is for a control group, but packets that come in on this device belong to none yet: use \
                 `--only {}`, or name a port",
                if direction == Direction::Up { "down" } else { "up" }
            ));
            return;
        }
        let is_limited = links.iter().any(|link| link.rate.is_some());
        let only_drops = !means.netem && is_lossy;
        if only_drops && hook == Hook::Egress && !self.place.is_loopback {
            self.problems.push(format!(
                "this kernel lacks sch_netem, and without it packets can be lost on their way in only: `{name}` loses \
                 them {} too",
                direction.name()
            ));
            return;
        }
        if only_drops && !target.condition.schedule.is_constant() {
            self.problems.push(format!(
                "this kernel lacks sch_netem, which the schedule of `{name}` needs for its losses"
            ));
            return;
        }
        if hook == Hook::Ingress && (means.netem || is_limited) && !means.ifb {
            self.problems.push(format!(
                "this kernel lacks ifb devices or their redirection, which `{name}` needs for packets that come in"
            ));
            return;
        }
        let is_per_packet = is_limited || links.iter().any(Link::is_per_packet);
        if is_per_packet && self.place.is_loopback && self.place.mtu > LOOPBACK_MTU {
            self.plan.mtu = Some(LOOPBACK_MTU);
        }
        let mtu = self.plan.mtu.unwrap_or(self.place.mtu);
        if is_per_packet && !means.tbf {
            self.plan.notes.push("this kernel lacks sch_tbf: super-packets share one fate".to_owned());
        }
        let minor = 2 + 2 * u32::try_from(index).unwrap_or(0) + u32::from(direction == Direction::Down);
        let class = Class {
            target: index,
            direction,
            hook,
            id: ROOT | minor,
            slice: match (means.tbf, is_per_packet) {
                (true, true) => Some(mtu + LINK_HEAD),
                (true, false) if means.netem => Some(WHOLE),
                _ => None,
            },
            has_netem: means.netem,
            limit: links.iter().map(|link| limit(link, mtu)).max().unwrap_or(MIN_LIMIT),
            queue: links.iter().map(queue).max().unwrap_or(MIN_LIMIT),
        };
        let traffic = self.rules(index, target, direction);
        let echoes = self.echoes(index, direction, hook);
        if only_drops {
            let loss = probability(links[0].loss.long_run());
            let drops = traffic.iter().chain(&echoes).map(|owned| OwnedRule {
                rule: Rule { loss, class: 0, flow: owned.rule.flow, ..owned.rule },
                ..*owned
            });
            self.plan.drops.extend(drops);
            self.plan.notes.push(format!(
                "this kernel lacks sch_netem: the loss of `{name}` is made by a program at ingress"
            ));
            if !is_limited {
                return;
            }
        }
        let rules = if hook == Hook::Egress { &mut self.plan.egress } else { &mut self.plan.ingress };
        let classed = |owned: OwnedRule| OwnedRule { rule: Rule { class: class.id, ..owned.rule }, ..owned };
        rules.extend(traffic.into_iter().chain(echoes).map(classed));
        self.plan.classes.push(class);
    }

    /// The rules for the traffic of a target.
    fn rules(&self, index: usize, target: &Target, direction: Direction) -> Vec<OwnedRule> {
        let scope = &target.scope;
        let mut rule = Rule {
            icmp_type: ICMP_ANY,
            proto: scope.proto.map_or(0, Proto::number),
            tag: u8::try_from(index + 1).unwrap_or(0),
            ..Rule::default()
        };
        // The group's own packets carry it; those to the group are known by the connections that these showed.
        let group_sends = if self.place.is_remote { Direction::Up } else { Direction::Down };
        if let Some(cgroup) = &scope.cgroup {
            if direction == group_sends {
                rule.cgroup = cgroup.id;
                rule.cgroup_level = cgroup.level;
                rule.flow = FLOW_LEARN;
            } else {
                rule.flow = FLOW_ANSWER;
            }
        }
        let ports = if scope.ports.is_empty() { vec![0] } else { scope.ports.clone() };
        let peers = if scope.peers.is_empty() { vec![None] } else { scope.peers.iter().map(Some).collect() };
        let mut rules = Vec::new();
        for port in ports {
            for peer in &peers {
                let mut rule = rule;
                match direction {
                    Direction::Up => rule.dest_port = port,
                    Direction::Down => rule.source_port = port,
                    Direction::Both => {}
                }
                if let Some(peer) = peer {
                    (rule.peer, rule.mask) = peer.words();
                    let peer_sends = (direction == Direction::Up) != self.place.is_remote;
                    rule.peer_is = if peer_sends { PEER_SOURCE } else { PEER_DEST };
                    if direction == Direction::Both {
                        // Both ends of a loopback connection are looked at: one rule for each.
                        rules.push(Rule { peer_is: PEER_SOURCE, ..rule });
                        rule.peer_is = PEER_DEST;
                    }
                } else {
                    rule.peer_is = PEER_ANY;
                }
                rules.push(rule);
            }
        }
        rules.into_iter().map(|rule| OwnedRule { target: Some(index), rule }).collect()
    }

    /// The rules for our own echo packets: through the same classes, by an identifier that says which way.
    fn echoes(&self, index: usize, direction: Direction, hook: Hook) -> Vec<OwnedRule> {
        let ids = EchoIds::of(self.place.echo_id, index);
        let (request, answer, proto) = if self.place.echo_is_v6 { (128, 129, 58) } else { (8, 0, 1) };
        let own = |icmp_type, echo_id| OwnedRule {
            target: None,
            rule: Rule { icmp_type, echo_id, proto, ..Rule::default() },
        };
        let requests = [own(request, ids.round_trip), own(request, ids.out)];
        let answers = [own(answer, ids.round_trip), own(answer, ids.back)];
        match (direction, self.place.is_loopback, hook) {
            (Direction::Both, ..) => [requests, answers].concat(),
            (Direction::Up, true, _) | (_, false, Hook::Egress) => requests.to_vec(),
            (Direction::Down, true, _) | (_, false, Hook::Ingress) => answers.to_vec(),
        }
    }
}
