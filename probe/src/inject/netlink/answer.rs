//! What the kernel answers: datagrams taken apart into messages, and messages read into devices, disciplines and classes.

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    NlaBuffer, NlasIterator,
};
use netlink_packet_route::link::LinkFlags;

use super::{Device, Refused, Stats, Tc};

/// `TCA_KIND`, `TCA_OPTIONS`, `TCA_STATS2`.
const KIND: u16 = 1;
pub(super) const OPTIONS: u16 = 2;
const STATS2: u16 = 7;
/// Inside `TCA_STATS2` (include/uapi/linux/gen_stats.h).
const STATS_BASIC: u16 = 1;
const STATS_QUEUE: u16 = 3;
const STATS_PKT64: u16 = 8;
/// Extended acknowledgement: the text (`NLMSGERR_ATTR_MSG`).
const EXT_ACK_TEXT: u16 = 1;
/// `struct tcmsg`, `struct ifinfomsg`.
const TC_HEAD: usize = 20;
const LINK_HEAD: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;

/// A message whose payload is left as it came.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    kind: u16,
    pub(super) bytes: Vec<u8>,
}

impl NetlinkDeserializable for Raw {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { kind: header.message_type, bytes: payload.to_vec() })
    }
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.bytes.len()].copy_from_slice(&self.bytes);
    }
}

/// Takes in one datagram; true when the answer is whole.
pub(super) fn take_in(datagram: &[u8], sequence: u32, answers: &mut Vec<Raw>) -> Result<bool> {
    let mut rest = datagram;
    while rest.len() >= LINK_HEAD {
        let message = NetlinkMessage::<Raw>::deserialize(rest).context("failed to read a netlink answer")?;
        let length = (message.header.length as usize).next_multiple_of(4).max(LINK_HEAD);
        rest = rest.get(length..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                let Some(code) = error.code else { return Ok(true) };
                let text = attributes(error.header.get(LINK_HEAD..).unwrap_or_default())
                    .find(|(kind, _)| *kind == EXT_ACK_TEXT)
                    .map(|(_, text)| printable(text));
                bail!(Refused { errno: -code.get(), text });
            }
            NetlinkPayload::InnerMessage(raw) => answers.push(raw),
            _ => {}
        }
    }
    Ok(false)
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim_end_matches('\0').chars().filter(|c| !c.is_control()).collect()
}

/// The attributes in a buffer, by kind; ends at the first broken one.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes)
        .map_while(|nla: Result<NlaBuffer<&[u8]>, _>| {
            let nla = nla.ok()?;
            Some((nla.kind(), nla))
        })
        .map(|(kind, nla)| (kind, value_of(bytes, nla)))
}

/// The value of an attribute with the life of the buffer that it stands in.
fn value_of<'a>(whole: &'a [u8], nla: NlaBuffer<&'a [u8]>) -> &'a [u8] {
    let length = nla.value_length();
    let inner = nla.into_inner();
    inner.get(4..4 + length).unwrap_or(&whole[..0])
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn double(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Reads `struct tcmsg` and what follows it.
pub(super) fn parse_tc(bytes: &[u8]) -> Option<Tc> {
    let mut tc =
        Tc { index: word(bytes, 4)?, handle: word(bytes, 8)?, parent: word(bytes, 12)?, ..Tc::default() };
    for (kind, value) in attributes(bytes.get(TC_HEAD..)?) {
        match kind {
            KIND => tc.kind = printable(value),
            OPTIONS => tc.options = Some(value.to_vec()),
            STATS2 => tc.stats = parse_stats(value),
            _ => {}
        }
    }
    Some(tc)
}

fn parse_stats(bytes: &[u8]) -> Stats {
    let mut stats = Stats::default();
    let mut packets64 = None;
    for (kind, value) in attributes(bytes) {
        match kind {
            STATS_BASIC => {
                stats.bytes = double(value, 0).unwrap_or(0);
                stats.packets = word(value, 8).unwrap_or(0).into();
            }
            STATS_QUEUE => {
                stats.queued = word(value, 0).unwrap_or(0);
                stats.drops = word(value, 8).unwrap_or(0);
            }
            STATS_PKT64 => packets64 = double(value, 0),
            _ => {}
        }
    }
    stats.packets = packets64.unwrap_or(stats.packets);
    stats
}

/// Reads `struct ifinfomsg` and what follows it.
pub(super) fn parse_link(bytes: &[u8]) -> Option<Device> {
    let flags = LinkFlags::from_bits_retain(word(bytes, 8)?);
    let mut device = Device {
        index: word(bytes, 4)?,
        name: String::new(),
        mtu: 0,
        is_loopback: flags.contains(LinkFlags::Loopback),
        is_up: flags.contains(LinkFlags::Up),
    };
    for (kind, value) in attributes(bytes.get(LINK_HEAD..)?) {
        match kind {
            IFLA_IFNAME => device.name = printable(value),
            IFLA_MTU => device.mtu = word(value, 0).unwrap_or(0),
            _ => {}
        }
    }
    Some(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `RTM_NEWQDISC` payload as the kernel sends it for a root that is not its own choice.
    #[test]
    fn a_qdisc_is_read_with_its_raw_options() {
        let mut bytes = vec![0; TC_HEAD];
        bytes[4] = 2;
        bytes[8..12].copy_from_slice(&0x504f_0000_u32.to_ne_bytes());
        bytes[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        bytes.extend([8, 0, 1, 0, b'h', b't', b'b', 0]);
        bytes.extend([8, 0, 2, 0, 1, 2, 3, 4]);
        let tc = parse_tc(&bytes).unwrap();
        assert_eq!((tc.index, tc.handle, tc.parent, tc.kind.as_str()), (2, 0x504f_0000, u32::MAX, "htb"));
        assert_eq!(tc.options.as_deref(), Some(&[1, 2, 3, 4][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = (parse_tc(&bytes), parse_link(&bytes), parse_stats(&bytes));
            let _ = take_in(&bytes, 1, &mut Vec::new());
        }
    }
}
