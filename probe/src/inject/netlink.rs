//! A small rtnetlink client: one request, one answer, with the kernel's own words in errors. Synchronous, because every
//! change must be done or refused before the next one, also while unwinding.
//!
//! Answers are kept as raw attributes: the typed crates re-encode unknown options wrongly, and what is restored must be
//! byte for byte what was there.

mod answer;

use std::fmt;
use std::io;

use anyhow::{Context as _, Result};
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    tc::{TcAttribute, TcHandle, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use answer::{OPTIONS, Raw, parse_link, parse_tc, take_in};

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
