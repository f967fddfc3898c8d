//! The wire of the network-condition classifier: which packets go to which class. Not part of a run's rooms: it is
//! loaded by the injector alone.

/// Rules that one hook can have.
pub const MAX_RULES: u32 = 96;
/// Connections that are remembered for rules by control group.
pub const MAX_FLOWS: u32 = 16_384;

/// [`Rule::peer_is`]: any address.
pub const PEER_ANY: u8 = 0;
/// [`Rule::peer_is`]: the source address.
pub const PEER_SOURCE: u8 = 1;
/// [`Rule::peer_is`]: the destination address.
pub const PEER_DEST: u8 = 2;

/// [`Rule::icmp_type`]: any.
pub const ICMP_ANY: u8 = 0xff;

/// [`Rule::flow`]: no matter.
pub const FLOW_ANY: u8 = 0;
/// [`Rule::flow`]: remember the connection of each packet that matches.
pub const FLOW_LEARN: u8 = 1;
/// [`Rule::flow`]: match answers on remembered connections alone.
pub const FLOW_ANSWER: u8 = 2;

/// One rule; the first that matches decides. A zero matches anything unless said otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Id of a control group: the packet's socket belongs to it or to one below it.
    pub cgroup: u64,
    /// Address of the peer, already masked; IPv4 as `::ffff:a.b.c.d`; words as they lie in the packet.
    pub peer: [u32; 4],
    /// Its mask.
    pub mask: [u32; 4],
    /// What is written to `skb->priority`; 0 leaves the packet alone.
    pub class: u32,
    /// Drop with this probability, in parts of 2^32 - 1 (the ingress program alone looks at it).
    pub loss: u32,
    /// Depth of the control group below the root.
    pub cgroup_level: u32,
    /// Source port of TCP or UDP, host order.
    pub source_port: u16,
    /// Destination port, host order.
    pub dest_port: u16,
    /// Identifier of an ICMP echo, host order.
    pub echo_id: u16,
    /// IP protocol.
    pub proto: u8,
    /// Type of an ICMP message, or [`ICMP_ANY`].
    pub icmp_type: u8,
    /// One of `PEER_…`.
    pub peer_is: u8,
    /// One of `FLOW_…`.
    pub flow: u8,
    /// Which scope a remembered connection belongs to.
    pub tag: u8,
    /// Nothing; makes the size whole.
    pub pad: u8,
}

/// What a rule has matched, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// Packets; a super-packet counts as its segments.
    pub packets: u64,
    /// Bytes from the network header on.
    pub bytes: u64,
    /// Of the packets, dropped by the rule.
    pub dropped: u64,
}

/// What all rules depend on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// CLOCK_MONOTONIC, nanoseconds: from then on nothing matches any more, whoever still holds the program.
    pub deadline_ns: u64,
    /// Rules in use.
    pub n_rules: u32,
    /// Nothing; makes the size whole.
    pub pad: u32,
}

/// A connection as its packets show it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// As in [`Rule::peer`].
    pub source: [u32; 4],
    /// As in [`Rule::peer`].
    pub dest: [u32; 4],
    /// Host order.
    pub source_port: u16,
    /// Host order.
    pub dest_port: u16,
    /// IP protocol.
    pub proto: u32,
}

// SAFETY: `repr(C)`, only integers, no padding (8 + 32 + 12 + 6 + 6).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Rule {}
// SAFETY: `repr(C)`, three `u64`.
#[cfg(feature = "user")]
unsafe impl aya::Pod for RuleCount {}
// SAFETY: `repr(C)`, no padding (8 + 4 + 4).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Control {}
