//! A small rtnetlink client: one request, one answer, with the kernel's own words in errors. Synchronous, because every
//! change must be done or refused before the next one, also while unwinding.
//!
//! Answers are kept as raw attributes: the typed crates re-encode unknown options wrongly, and what is restored must be
//! byte for byte what was there.

use std::fmt;
use std::io;

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    DecodeError, DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlaBuffer,
    NlasIterator,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    tc::{TcAttribute, TcHandle, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// `TCA_KIND`, `TCA_OPTIONS`, `TCA_STATS2`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
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

/// The kernel's refusal.
#[derive(Debug)]
pub struct Refused {
    /// The errno.
    pub errno: i32,
    /// The kernel's words, where it has some.
    pub text: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.errno))?;
        self.text.as_ref().map_or(Ok(()), |text| write!(f, ": the kernel says \"{text}\""))
    }
}

impl std::error::Error for Refused {}

/// The errno of a refusal among the causes of an error.
pub fn errno_of(error: &anyhow::Error) -> Option<i32> {
    error.chain().find_map(|cause| cause.downcast_ref::<Refused>()).map(|refused| refused.errno)
}

/// A message whose payload is left as it came.
#[derive(Clone, Debug)]
struct Raw {
    kind: u16,
    bytes: Vec<u8>,
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

/// A queueing discipline or class as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tc {
    /// Device.
    pub index: u32,
    /// Its own handle; 0 for the kernel's defaults.
    pub handle: u32,
    /// Where it hangs.
    pub parent: u32,
    /// `htb`, `netem` …
    pub kind: String,
    /// `TCA_OPTIONS` without its header; none where the kernel sent none.
    pub options: Option<Vec<u8>>,
    /// Its counters.
    pub stats: Stats,
}

/// Counters of a queueing discipline or class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets in the queue.
    pub queued: u32,
    /// Packets dropped.
    pub drops: u32,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet.
    pub mtu: u32,
    /// It carries packets to this very host.
    pub is_loopback: bool,
    /// It is up.
    pub is_up: bool,
}

/// An open connection to the routing part of the kernel, in the network namespace in which it was opened.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens it in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Errors then carry words, and not the whole request before them.
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            Ok(socket)
        };
        Ok(Self { socket: open().context("failed to open a netlink socket")?, sequence: 0 })
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<Raw>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).context("failed to send a netlink request")?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full().context("failed to read a netlink answer")?;
            if take_in(&datagram, self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    /// All queueing disciplines of a device, the kernel's defaults included.
    pub fn qdiscs(&mut self, index: u32) -> Result<Vec<Tc>> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self.request(request, NLM_F_DUMP).context("failed to list queueing disciplines")?;
        Ok(answers.iter().filter_map(|raw| parse_tc(&raw.bytes)).filter(|tc| tc.index == index).collect())
    }

    /// All classes of a device.
    pub fn classes(&mut self, index: u32) -> Result<Vec<Tc>> {
        let request = RouteNetlinkMessage::GetTrafficClass(head(index, 0, 0));
        let answers = self.request(request, NLM_F_DUMP).context("failed to list classes")?;
        Ok(answers.iter().filter_map(|raw| parse_tc(&raw.bytes)).collect())
    }

    /// Adds a queueing discipline where there is none but the kernel's default.
    pub fn add_qdisc(
        &mut self,
        index: u32,
        parent: u32,
        handle: u32,
        kind: &str,
        options: Option<Vec<u8>>,
    ) -> Result<()> {
        let message = RouteNetlinkMessage::NewQueueDiscipline(tc(index, parent, handle, kind, options));
        self.request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("failed to add queueing discipline `{kind}`"))?;
        Ok(())
    }

    /// Changes the options of a queueing discipline and keeps its packets.
    pub fn change_qdisc(
        &mut self,
        index: u32,
        parent: u32,
        handle: u32,
        kind: &str,
        options: Vec<u8>,
    ) -> Result<()> {
        let message = RouteNetlinkMessage::NewQueueDiscipline(tc(index, parent, handle, kind, Some(options)));
        self.request(message, NLM_F_ACK)
            .with_context(|| format!("failed to change queueing discipline `{kind}`"))?;
        Ok(())
    }

    /// Takes a queueing discipline away, if it still has that handle.
    pub fn delete_qdisc(&mut self, index: u32, parent: u32, handle: u32) -> Result<()> {
        let message = RouteNetlinkMessage::DelQueueDiscipline(head(index, parent, handle));
        self.request(message, NLM_F_ACK).context("failed to take a queueing discipline away")?;
        Ok(())
    }

    /// Adds or changes a class.
    pub fn set_class(
        &mut self,
        index: u32,
        parent: u32,
        handle: u32,
        kind: &str,
        options: Vec<u8>,
        is_new: bool,
    ) -> Result<()> {
        let message = RouteNetlinkMessage::NewTrafficClass(tc(index, parent, handle, kind, Some(options)));
        let flags = if is_new { NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL } else { NLM_F_ACK };
        self.request(message, flags).context("failed to set a class")?;
        Ok(())
    }

    /// Adds a filter: `info` is its priority and protocol.
    pub fn add_filter(
        &mut self,
        index: u32,
        parent: u32,
        info: u32,
        kind: &str,
        options: Vec<u8>,
    ) -> Result<()> {
        let mut message = tc(index, parent, 0, kind, Some(options));
        message.header.info = info;
        self.request(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("failed to add a filter `{kind}`"))?;
        Ok(())
    }

    /// Takes all filters of one priority away.
    pub fn delete_filters(&mut self, index: u32, parent: u32, info: u32) -> Result<()> {
        let mut message = head(index, parent, 0);
        message.header.info = info;
        self.request(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK)
            .context("failed to take filters away")?;
        Ok(())
    }

    /// How many filters hang at a place.
    pub fn count_filters(&mut self, index: u32, parent: u32) -> Result<usize> {
        let request = RouteNetlinkMessage::GetTrafficFilter(head(index, parent, 0));
        Ok(self.request(request, NLM_F_DUMP).context("failed to list filters")?.len())
    }

    /// All devices of the namespace.
    pub fn devices(&mut self) -> Result<Vec<Device>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.request(request, NLM_F_DUMP).context("failed to list network devices")?;
        Ok(answers.iter().filter_map(|raw| parse_link(&raw.bytes)).collect())
    }

    /// Sets a device's largest packet.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK)
            .with_context(|| format!("failed to set the MTU to {mtu}"))?;
        Ok(())
    }

    /// Makes an intermediate functional block, and takes it up.
    pub fn add_ifb(&mut self, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]));
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("failed to add the device `{name}`"))?;
        Ok(())
    }

    /// Takes a device away.
    pub fn delete_link(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(message), NLM_F_ACK)
            .context("failed to take a device away")?;
        Ok(())
    }
}

fn head(index: u32, parent: u32, handle: u32) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::from(parent);
    message.header.handle = TcHandle::from(handle);
    message
}

fn tc(index: u32, parent: u32, handle: u32, kind: &str, options: Option<Vec<u8>>) -> TcMessage {
    let mut message = head(index, parent, handle);
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    // As the raw attribute: the typed one would wrap bytes that it does not know once more.
    message.attributes.extend(options.map(|bytes| TcAttribute::Other(DefaultNla::new(OPTIONS, bytes))));
    message
}

/// Takes in one datagram; true when the answer is whole.
fn take_in(datagram: &[u8], sequence: u32, answers: &mut Vec<Raw>) -> Result<bool> {
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
fn parse_tc(bytes: &[u8]) -> Option<Tc> {
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
fn parse_link(bytes: &[u8]) -> Option<Device> {
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
