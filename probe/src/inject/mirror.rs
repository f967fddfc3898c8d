//! Packets that come in are sent over a device that stands between, where they wait like those that go out: an ifb, and
//! a filter that redirects to it. Without a classifier on that device they pass it at once.

use anyhow::{Context as _, Result};

use super::netlink::Netlink;

/// `TC_H_CLSACT`, the parent of the discipline that holds filters.
pub const CLSACT: u32 = 0xffff_fff1;
/// Its handle.
pub const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Its place for filters on packets that come in, and that go out.
pub const CLSACT_INGRESS: u32 = 0xffff_fff2;
/// See [`CLSACT_INGRESS`].
pub const CLSACT_EGRESS: u32 = 0xffff_fff3;
/// Priority of our filters; nobody else has it.
pub const PRIORITY: u32 = 0x504f;
/// `ETH_P_ALL` in network order.
const ALL_PROTOCOLS: u32 = 0x0300;
/// How all our filters are found again: priority and protocol.
pub const FILTER_INFO: u32 = PRIORITY << 16 | ALL_PROTOCOLS;

/// include/uapi/linux/pkt_cls.h
const U32_SELECTOR: u16 = 5;
const U32_ACTIONS: u16 = 7;
const ACTION_KIND: u16 = 1;
const ACTION_OPTIONS: u16 = 2;
const MIRRED_PARMS: u16 = 2;
const TERMINAL: u8 = 1;
const STOLEN: u32 = 4;
const EGRESS_REDIRECT: u32 = 1;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// A u32 filter that matches everything and redirects it to a device.
fn redirect(to: u32) -> Vec<u8> {
    // `struct tc_u32_sel` with one key that compares nothing.
    let mut selector = vec![TERMINAL, 0, 1, 0];
    selector.extend([0; 28]);
    // `struct tc_mirred`
    let parms = words(&[0, 0, STOLEN, 0, 0, EGRESS_REDIRECT, to]);
    let action =
        [attribute(ACTION_KIND, b"mirred\0"), attribute(ACTION_OPTIONS, &attribute(MIRRED_PARMS, &parms))]
            .concat();
    [attribute(U32_SELECTOR, &selector), attribute(U32_ACTIONS, &attribute(1, &action))].concat()
}

/// Redirects what comes in.
pub fn add(netlink: &mut Netlink, index: u32, to: u32) -> Result<()> {
    netlink
        .add_filter(index, CLSACT_INGRESS, FILTER_INFO, "u32", redirect(to))
        .context("failed to redirect incoming packets")
}

/// Tries it all, in a namespace of one's own.
pub fn is_possible(netlink: &mut Netlink) -> bool {
    let mut try_all = || -> Result<()> {
        netlink.add_ifb("probe-try")?;
        let devices = netlink.devices()?;
        let between = devices.iter().find(|device| device.name == "probe-try").context("no device")?;
        netlink.add_qdisc(1, CLSACT, CLSACT_HANDLE, "clsact", None)?;
        add(netlink, 1, between.index)
    };
    try_all().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tc filter add dev lo ingress protocol all u32 match u32 0 0 action mirred egress redirect dev X`, as lengths
    /// and kinds; that the kernel takes the bytes is shown where it is there.
    #[test]
    fn the_filter_is_whole() {
        let bytes = redirect(7);
        assert_eq!(bytes.len(), 36 + 4 + 4 + 12 + 4 + 32);
        assert_eq!(bytes[bytes.len() - 4..], 7_u32.to_ne_bytes());
    }
}
