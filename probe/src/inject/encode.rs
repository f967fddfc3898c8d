//! The option bytes of queueing disciplines that the netlink crates do not know: netem, htb, tbf, pfifo. Layouts from
//! include/uapi/linux/pkt_sched.h; the fixtures in the tests are what `tc` sends.

use super::condition::{Chance, Link, Loss};
use super::distribution;

/// What a class needs beyond its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may be sent at once.
    pub burst: u32,
}

/// One psched tick in nanoseconds (`PSCHED_SHIFT` 6).
const TICK_NS: u64 = 64;
/// `TC_LINKLAYER_ETHERNET`: with it the kernel needs no table of 256 sizes.
const LINKLAYER_ETHERNET: u8 = 1;

const NETEM_CORR: u16 = 1;
const NETEM_DELAY_DIST: u16 = 2;
const NETEM_REORDER: u16 = 3;
const NETEM_CORRUPT: u16 = 4;
const NETEM_LOSS: u16 = 5;
const NETEM_LOSS_GI: u16 = 1;
const NETEM_LOSS_GE: u16 = 2;
const NETEM_ECN: u16 = 7;
const NETEM_LATENCY64: u16 = 10;
const NETEM_JITTER64: u16 = 11;
const NETEM_PRNG_SEED: u16 = 14;

const HTB_PARMS: u16 = 1;
const HTB_INIT: u16 = 2;
const HTB_DIRECT_QLEN: u16 = 5;
const HTB_RATE64: u16 = 6;
const HTB_CEIL64: u16 = 7;
const HTB_VERSION: u32 = 3;
/// `rate2quantum`, tc's default.
const HTB_R2Q: u32 = 10;
/// Packets that no class claims and that wait for the device: the device's own number may be as small as 32.
const HTB_DIRECT_PACKETS: u32 = 10_000;
/// Bytes that a class may send before others of the same priority have their turn.
const HTB_QUANTUM: u32 = 60_000;

const TBF_PARMS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;

/// Bytes under construction.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        // Attributes here are at most 32 KiB: distribution tables, whose size is checked when they are read.
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// A probability as netem takes it: a part of 2^32 - 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=2^32-1 before")]
pub fn probability(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u32
}

fn chance(chance: Chance) -> Vec<u8> {
    words(&[probability(chance.probability), probability(chance.correlation)])
}

fn ticks(ns: u64) -> u32 {
    u32::try_from(ns / TICK_NS).unwrap_or(u32::MAX)
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `TCA_OPTIONS` of a netem: `struct tc_netem_qopt`, then attributes. Every attribute that matters is always sent,
/// because a change keeps what it is not told.
pub fn netem(link: &Link, limit: u32, seed: Option<u64>, is_change: bool) -> Vec<u8> {
    let (delay, jitter) = (nanoseconds(link.delay), nanoseconds(link.jitter));
    let random = match link.loss {
        Loss::Random(chance) => chance,
        _ => Chance::default(),
    };
    let gap = if link.reorder.probability > 0.0 { link.gap.max(1) } else { 0 };
    let mut bytes = Bytes::default();
    bytes
        .u32(ticks(delay))
        .u32(limit)
        .u32(probability(random.probability))
        .u32(gap)
        .u32(probability(link.duplicate.probability))
        .u32(ticks(jitter));
    let correlations =
        [link.delay_correlation, random.correlation, link.duplicate.correlation].map(probability);
    if is_change || correlations != [0; 3] {
        bytes.attribute(NETEM_CORR, &words(&correlations));
    }
    if is_change || link.reorder.probability > 0.0 {
        bytes.attribute(NETEM_REORDER, &chance(link.reorder));
    }
    if is_change || link.ecn {
        bytes.attribute(NETEM_ECN, &u32::from(link.ecn).to_ne_bytes());
    }
    if is_change || link.corrupt.probability > 0.0 {
        bytes.attribute(NETEM_CORRUPT, &chance(link.corrupt));
    }
    if let Some(model) = loss_model(&link.loss) {
        bytes.attribute(NETEM_LOSS, &model);
    }
    // The tick of 64 ns is fine enough; its 32 bits end at 274 s, its struct in older kernels at 4.3 s.
    for (kind, ns) in [(NETEM_LATENCY64, delay), (NETEM_JITTER64, jitter)] {
        if ns > u64::from(u32::MAX) {
            bytes.attribute(kind, &ns.to_ne_bytes());
        }
    }
    if let Some(table) = distribution::table(&link.distribution) {
        let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_ne_bytes()).collect();
        bytes.attribute(NETEM_DELAY_DIST, &table);
    }
    if let Some(seed) = seed {
        bytes.attribute(NETEM_PRNG_SEED, &seed.to_ne_bytes());
    }
    bytes.0
}

/// The nested attribute of a loss model that is more than random.
fn loss_model(loss: &Loss) -> Option<Vec<u8>> {
    let mut bytes = Bytes::default();
    match *loss {
        Loss::Random(_) => return None,
        // `struct tc_netem_gemodel`: the third is the share that passes in the bad state.
        Loss::GilbertElliott { p, r, bad, good } => {
            bytes.attribute(NETEM_LOSS_GE, &words(&[p, r, 1.0 - bad, good].map(probability)))
        }
        // `struct tc_netem_gimodel`.
        Loss::FourState { p13, p31, p32, p23, p14 } => {
            bytes.attribute(NETEM_LOSS_GI, &words(&[p13, p31, p32, p14, p23].map(probability)))
        }
    };
    Some(bytes.0)
}

/// `TCA_OPTIONS` of our root: what no class claims goes out at once.
pub fn htb() -> Vec<u8> {
    let mut bytes = Bytes::default();
    bytes
        .attribute(HTB_INIT, &words(&[HTB_VERSION, HTB_R2Q, 0, 0, 0]))
        .attribute(HTB_DIRECT_QLEN, &HTB_DIRECT_PACKETS.to_ne_bytes());
    bytes.0
}

/// `struct tc_ratespec`; a rate beyond 32 bits stands in an attribute of its own.
fn rate_spec(rate: u64) -> Vec<u8> {
    let mut spec = vec![0, LINKLAYER_ETHERNET, 0, 0, 0xff, 0xff, 0, 0];
    spec.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    spec
}

/// Ticks that `bytes` take at a rate.
fn transmit_ticks(bytes: u32, rate: u64) -> u32 {
    let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    ticks(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// `TCA_OPTIONS` of a class of our root.
pub fn htb_class(shape: Shape) -> Vec<u8> {
    let Shape { rate, burst } = shape;
    let buffer = transmit_ticks(burst, rate).max(1);
    let mut parms = rate_spec(rate);
    parms.extend(rate_spec(rate));
    parms.extend(words(&[buffer, buffer, HTB_QUANTUM, 0, 0]));
    let mut bytes = Bytes::default();
    bytes.attribute(HTB_PARMS, &parms);
    if rate > u64::from(u32::MAX) {
        bytes.attribute(HTB_RATE64, &rate.to_ne_bytes());
        bytes.attribute(HTB_CEIL64, &rate.to_ne_bytes());
    }
    bytes.0
}

/// `TCA_OPTIONS` of a tbf as a slicer: it takes super-packets apart into packets of at most `max_packet` bytes, at a
/// rate that limits nothing.
pub fn tbf(max_packet: u32, limit_bytes: u32) -> Vec<u8> {
    let rate = super::condition::MAX_RATE;
    let mut parms = rate_spec(rate);
    parms.extend([0; 12]);
    parms.extend(words(&[limit_bytes, 0, 0]));
    let mut bytes = Bytes::default();
    bytes
        .attribute(TBF_PARMS, &parms)
        .attribute(TBF_BURST, &max_packet.to_ne_bytes())
        .attribute(TBF_RATE64, &rate.to_ne_bytes());
    bytes.0
}

/// `TCA_OPTIONS` of a pfifo: packets.
pub fn pfifo(limit: u32) -> Vec<u8> {
    limit.to_ne_bytes().to_vec()
}

/// What a netem says that it does: the start of its options in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetemHead {
    /// Ticks.
    pub latency: u32,
    /// Packets.
    pub limit: u32,
    /// Part of 2^32 - 1.
    pub loss: u32,
    /// Part of 2^32 - 1.
    pub duplicate: u32,
    /// Ticks.
    pub jitter: u32,
}

impl NetemHead {
    /// Reads it; none where the bytes are too few.
    pub fn read(options: &[u8]) -> Option<Self> {
        let word = |index: usize| {
            let bytes = options.get(index * 4..index * 4 + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        Some(Self {
            latency: word(0)?,
            limit: word(1)?,
            loss: word(2)?,
            duplicate: word(4)?,
            jitter: word(5)?,
        })
    }
}

#[cfg(test)]
mod tests;
