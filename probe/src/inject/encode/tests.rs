//! Bytes that `tc` of iproute2 6.1 sends (its `sendmsg` calls under strace): `TCA_OPTIONS` without its header.

use std::time::Duration;

use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn chance(probability: f64, correlation: f64) -> Chance {
    Chance { probability, correlation }
}

/// `netem delay 50ms`
#[test]
fn netem_with_a_delay() {
    let link = Link { delay: ms(50), ..Link::default() };
    assert_eq!(netem(&link, 1000, None, false), hex("c2eb0b00 e8030000 00000000 00000000 00000000 00000000"));
}

/// `netem delay 50ms 10ms 25% loss 1% 25% duplicate 0.5% corrupt 0.1% reorder 2% 50% limit 5000 ecn`
#[test]
fn netem_with_everything() {
    let link = Link {
        delay: ms(50),
        jitter: ms(10),
        delay_correlation: 0.25,
        loss: Loss::Random(chance(0.01, 0.25)),
        duplicate: chance(0.005, 0.0),
        corrupt: chance(0.001, 0.0),
        reorder: chance(0.02, 0.5),
        ecn: true,
        ..Link::default()
    };
    let expected = "c2eb0b00 88130000 295c8f02 01000000 14ae4701 5a620200
        10000100 00000040 00000040 00000000
        0c000300 52b81e05 00000080
        08000700 01000000
        0c000400 37894100 00000000";
    assert_eq!(netem(&link, 5000, None, false), hex(expected));
}

/// `netem loss gemodel 1% 10% 70% 0.1%`, `netem loss state 1% 90% 80% 20% 5%`
#[test]
fn netem_loss_models() {
    let head = "00000000 e8030000 00000000 00000000 00000000 00000000";
    let link = |loss| Link { loss, ..Link::default() };
    let bursts = link(Loss::GilbertElliott { p: 0.01, r: 0.1, bad: 0.7, good: 0.001 });
    let expected = format!("{head} 18000500 14000200 295c8f02 9a999919 cdcccc4c 37894100");
    assert_eq!(netem(&bursts, 1000, None, false), hex(&expected));
    let chain = link(Loss::FourState { p13: 0.01, p31: 0.9, p32: 0.8, p23: 0.2, p14: 0.05 });
    let expected = format!("{head} 1c000500 18000100 295c8f02 666666e6 cccccccc cdcccc0c 33333333");
    assert_eq!(netem(&chain, 1000, None, false), hex(&expected));
}

/// A change names what it takes away too.
#[test]
fn a_change_resends_all() {
    let bytes = netem(&Link::default(), 1000, Some(7), true);
    let expected = "00000000 e8030000 00000000 00000000 00000000 00000000
        10000100 00000000 00000000 00000000
        0c000300 00000000 00000000
        08000700 00000000
        0c000400 00000000 00000000
        0c000e00 07000000 00000000";
    assert_eq!(bytes, hex(expected));
}

/// `htb direct_qlen 10000` (its default class is 0 too)
#[test]
fn htb_root() {
    assert_eq!(htb(), hex("18000200 03000000 0a000000 00000000 00000000 00000000 08000500 10270000"));
}

/// `htb rate 8mbit burst 15360`: as tc's, but for the rate tables, which the kernel does not look at when the link
/// layer is named, the quantum, and tc's `cburst`, which is smaller than its burst.
#[test]
fn htb_classes() {
    let bytes = htb_class(Shape { rate: 1_000_000, burst: 15_360 });
    let expected = "30000100 0001 0000 ffff 0000 40420f00 0001 0000 ffff 0000 40420f00
        80a90300 80a90300 60ea0000 00000000 00000000";
    assert_eq!(bytes, hex(expected));
    let fast = htb_class(Shape { rate: 12_500_000_000, burst: 12_500_000 });
    assert_eq!(fast[fast.len() - 24..], hex("0c000600 00dd0ee9 02000000 0c000700 00dd0ee9 02000000")[..]);
}

/// `tbf rate 100gbit burst 1600 limit 10000000` without tc's tables, in another order.
#[test]
fn tbf_as_a_slicer() {
    let expected =
        "28000100 0001 0000 ffff 0000 ffffffff 00000000 00000000 00000000 80969800 00000000 00000000
        08000600 40060000
        0c000400 00dd0ee9 02000000";
    assert_eq!(tbf(1600, 10_000_000), hex(expected));
}

/// `pfifo limit 100`
#[test]
fn pfifo_limit() {
    assert_eq!(pfifo(100), hex("64000000"));
}

#[test]
fn long_delays_have_64_bits() {
    let link = Link { delay: Duration::from_secs(5), ..Link::default() };
    let bytes = netem(&link, 1000, None, false);
    assert_eq!(bytes[24..], hex("0c000a00 00f2052a 01000000")[..]);
}

proptest! {
    /// What is written is what a dump's head reads, and attributes are whole.
    #[test]
    fn heads_come_back(delay in 0u64..60_000, jitter in 0u64..2000, loss in 0.0f64..=1.0, limit in 1u32..1_000_000, is_change: bool) {
        let link = Link { delay: ms(delay), jitter: ms(jitter), loss: Loss::Random(chance(loss, 0.0)), ..Link::default() };
        let bytes = netem(&link, limit, None, is_change);
        prop_assert_eq!(bytes.len() % 4, 0);
        let head = NetemHead::read(&bytes).unwrap();
        prop_assert_eq!((head.limit, head.loss), (limit, probability(loss)));
        prop_assert_eq!(u64::from(head.latency) * 64 / 1_000_000, delay);
    }

    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        prop_assert_eq!(NetemHead::read(&bytes).is_some(), bytes.len() >= 24);
    }
}
