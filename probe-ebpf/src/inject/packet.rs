//! What a packet says of itself: addresses, ports, echo ids. Read from the network header on, so that devices with and
//! without a link layer are the same.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes_relative};
use probe_common::inject::Flow;

/// `BPF_HDR_START_NET` (include/uapi/linux/bpf.h).
const FROM_NETWORK_HEADER: u32 = 1;
/// include/uapi/linux/if_ether.h, as `skb->protocol` holds them: network order.
const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;

/// A packet, as far as rules ask.
pub(crate) struct Packet {
    /// Addresses, ports and protocol.
    pub(crate) flow: Flow,
    /// Type of an ICMP message; 0xff for all others.
    pub(crate) icmp_type: u8,
    /// Identifier of an ICMP echo.
    pub(crate) echo_id: u16,
}

#[inline(always)]
fn load<T: Copy + Default>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the helper writes exactly the bytes of `value`, or fails.
    let result = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast_const().cast(),
            offset,
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            FROM_NETWORK_HEADER,
        )
    };
    (result == 0).then_some(value)
}

/// None for what is neither IPv4 nor IPv6.
#[inline(always)]
pub(crate) fn parse(skb: *mut __sk_buff) -> Option<Packet> {
    // SAFETY: the context of a classifier is a valid `__sk_buff`.
    let protocol = unsafe { (*skb).protocol };
    let mut flow = Flow::default();
    let transport;
    if protocol == ETH_P_IP {
        let head: [u8; 12] = load(skb, 0)?;
        let [source, dest]: [u32; 2] = load(skb, 12)?;
        let mapped = 0xffff_u32.to_be();
        flow.source = [0, 0, mapped, source];
        flow.dest = [0, 0, mapped, dest];
        flow.proto = u32::from(head[9]);
        // A later fragment has no ports.
        let offset = u16::from_be_bytes([head[6], head[7]]) & 0x1fff;
        let is_first = offset == 0;
        transport = if is_first { u32::from(head[0] & 15) * 4 } else { 0 };
    } else if protocol == ETH_P_IPV6 {
        let next: u8 = load(skb, 6)?;
        flow.source = load(skb, 8)?;
        flow.dest = load(skb, 24)?;
        flow.proto = u32::from(next);
        transport = 40;
    } else {
        return None;
    }
    let mut packet = Packet { flow, icmp_type: 0xff, echo_id: 0 };
    if transport == 0 {
        return Some(packet);
    }
    match packet.flow.proto {
        TCP | UDP => {
            let [source, dest]: [u16; 2] = load(skb, transport)?;
            packet.flow.source_port = u16::from_be(source);
            packet.flow.dest_port = u16::from_be(dest);
        }
        ICMP | ICMPV6 => {
            let head: [u8; 8] = load(skb, transport)?;
            packet.icmp_type = head[0];
            packet.echo_id = u16::from_be_bytes([head[4], head[5]]);
        }
        _ => {}
    }
    Some(packet)
}
