//! The two programs, their maps, and the rules.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns, generated::bpf_skb_ancestor_cgroup_id},
    macros::{classifier, map},
    maps::{Array, LruHashMap, PerCpuArray},
    programs::TcContext,
};
use probe_common::inject::{
    Control, FLOW_ANSWER, FLOW_LEARN, Flow, ICMP_ANY, MAX_FLOWS, MAX_RULES, PEER_ANY, PEER_SOURCE, Rule,
    RuleCount,
};

use crate::packet::{self, Packet};

/// The deadline and the number of rules.
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// The rules, in the order in which they are tried.
#[map]
static RULES: Array<Rule> = Array::with_max_entries(MAX_RULES, 0);

/// What each rule has matched.
#[map]
static COUNTS: PerCpuArray<RuleCount> = PerCpuArray::with_max_entries(MAX_RULES, 0);

/// Connections that a control group's packets have shown, by the addresses of their answers: what comes back to a
/// group has no socket of the group yet.
#[map]
static FLOWS: LruHashMap<Flow, u32> = LruHashMap::with_max_entries(MAX_FLOWS, 0);

/// Egress: sends packets to their class.
#[classifier]
pub(crate) fn inject_egress(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    if let Some(rule) = find(skb)
        && rule.class != 0
    {
        // SAFETY: the context of a classifier is a valid `__sk_buff`, and `priority` may be written.
        unsafe { (*skb).priority = rule.class };
    }
    TC_ACT_UNSPEC
}

/// Ingress: drops at random.
#[classifier]
pub(crate) fn inject_ingress(ctx: TcContext) -> i32 {
    let Some(rule) = find(ctx.skb.skb) else { return TC_ACT_UNSPEC };
    if rule.loss == 0 {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: a helper without arguments.
    let drawn = unsafe { bpf_get_prandom_u32() };
    if drawn > rule.loss {
        return TC_ACT_UNSPEC;
    }
    if let Some(count) = COUNTS.get_ptr_mut(rule.index) {
        // SAFETY: the slot belongs to this CPU.
        unsafe { (*count).dropped += 1 };
    }
    TC_ACT_SHOT
}

/// What of a rule is needed after it matched.
struct Found {
    class: u32,
    loss: u32,
    index: u32,
}

/// The first rule that matches.
#[inline(always)]
fn find(skb: *mut __sk_buff) -> Option<Found> {
    let control = CONTROL.get(0)?;
    // SAFETY: a helper without arguments.
    if unsafe { bpf_ktime_get_ns() } >= control.deadline_ns {
        return None;
    }
    let packet = packet::parse(skb)?;
    for index in 0..MAX_RULES {
        if index >= control.n_rules {
            break;
        }
        let rule = RULES.get(index)?;
        if !matches(rule, &packet, skb) {
            continue;
        }
        if rule.flow == FLOW_LEARN {
            learn(&packet.flow, rule.tag);
        }
        count(index, skb);
        return Some(Found { class: rule.class, loss: rule.loss, index });
    }
    None
}

#[inline(always)]
fn matches(rule: &Rule, packet: &Packet, skb: *mut __sk_buff) -> bool {
    let flow = &packet.flow;
    if rule.proto != 0 && u32::from(rule.proto) != flow.proto
        || rule.source_port != 0 && rule.source_port != flow.source_port
        || rule.dest_port != 0 && rule.dest_port != flow.dest_port
        || rule.icmp_type != ICMP_ANY && rule.icmp_type != packet.icmp_type
        || rule.echo_id != 0 && rule.echo_id != packet.echo_id
    {
        return false;
    }
    if rule.peer_is != PEER_ANY {
        let peer = if rule.peer_is == PEER_SOURCE { &flow.source } else { &flow.dest };
        let differs = (peer[0] & rule.mask[0] ^ rule.peer[0])
            | (peer[1] & rule.mask[1] ^ rule.peer[1])
            | (peer[2] & rule.mask[2] ^ rule.peer[2])
            | (peer[3] & rule.mask[3] ^ rule.peer[3]);
        if differs != 0 {
            return false;
        }
    }
    if rule.cgroup != 0 {
        // SAFETY: the helper takes the context; it gives 0 for a packet without a socket.
        let cgroup = unsafe { bpf_skb_ancestor_cgroup_id(skb, rule.cgroup_level.cast_signed()) };
        if cgroup != rule.cgroup {
            return false;
        }
    }
    if rule.flow == FLOW_ANSWER {
        // SAFETY: the value is a number; a change between the look-up and the read gives the old or the new one.
        return unsafe { FLOWS.get(flow) }.is_some_and(|tag| *tag == u32::from(rule.tag));
    }
    true
}

#[inline(always)]
fn learn(flow: &Flow, tag: u8) {
    let answer = Flow {
        source: flow.dest,
        dest: flow.source,
        source_port: flow.dest_port,
        dest_port: flow.source_port,
        proto: flow.proto,
    };
    // SAFETY: as in `matches`.
    if unsafe { FLOWS.get(answer) }.is_none_or(|known| *known != u32::from(tag)) {
        // A full table forgets the least used connection; that one is learned again with its next packet.
        let _ = FLOWS.insert(answer, u32::from(tag), 0);
    }
}

#[inline(always)]
fn count(index: u32, skb: *mut __sk_buff) {
    if let Some(count) = COUNTS.get_ptr_mut(index) {
        // SAFETY: the slot belongs to this CPU, and the context is a valid `__sk_buff`.
        unsafe {
            let segments = (*skb).gso_segs;
            (*count).packets += if segments > 1 { u64::from(segments) } else { 1 };
            (*count).bytes += u64::from((*skb).len);
        }
    }
}
