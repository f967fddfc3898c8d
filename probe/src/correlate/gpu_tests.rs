//! Joins against sums that are made moment by moment.

use proptest::prelude::*;

use super::*;

fn look(ts_ns: u64) -> GpuLook {
    GpuLook { ts_ns, ..GpuLook::default() }
}

/// A second at 50 %, a second of which nothing is known, a second at 100 %.
#[test]
fn busy_shares_and_gaps() {
    const S: u64 = 1_000_000_000;
    let mut line = GpuTimeline::default();
    let look = |n: u64, busy| GpuLook { busy, ..look(n * S) };
    line.add(&look(11, vec![Busy(10 * S, 11 * S, 50)]));
    line.add(&look(13, vec![Busy(12 * S, 13 * S, 100)]));
    for (from, to, covered_ns, busy) in [
        (10 * S, 11 * S, S, 50 * S),
        (10 * S, 10 * S + 10, 10, 500),
        (11 * S, 12 * S, 0, 0),
        (10 * S + S / 2, 12 * S + S / 2, S, 75 * S),
        (0, 99 * S, 2 * S, 150 * S),
        (12 * S, 11 * S, 0, 0),
    ] {
        let overlap = line.over(from, to);
        assert_eq!((overlap.covered_ns, overlap.busy), (covered_ns, busy), "{from}..{to}");
    }
    assert_eq!(line.whole(), line.over(0, 99 * S));
    assert_eq!(line.whole().energy_uj, None, "not measured is not 0");
}

/// Energy by the GPU's own counter, which begins anew with its driver; by its power where it has none.
#[test]
fn energy() {
    const S: u64 = 1_000_000_000;
    let mut counted = GpuTimeline::default();
    for (second, energy_mj, power_mw) in [(1, 5_000, 999), (2, 5_300, 999), (3, 100, 999), (4, 300, 999)] {
        let look = GpuLook { energy_mj: Some(energy_mj), power_mw: Some(power_mw), ..look(second * S) };
        counted.add(&look);
    }
    assert_eq!(counted.over(S, 2 * S).energy_uj, Some(300_000));
    assert_eq!(counted.over(S + S / 2, 2 * S).energy_uj, Some(150_000));
    assert_eq!(counted.whole().energy_uj, Some(500_000));
    assert_eq!(counted.over(5 * S, 6 * S).energy_uj, None);
    assert!(!counted.is_energy_estimated());
    let mut powered = GpuTimeline::default();
    for (second, power_mw) in [(1, 100_000), (2, 300_000), (3, 300_000)] {
        powered.add(&GpuLook { power_mw: Some(power_mw), ..look(second * S) });
    }
    assert_eq!(powered.whole().energy_uj, Some(500_000_000), "200 J and 300 J");
    assert!(powered.is_energy_estimated());
}

/// A level holds until the next reading, and the highest of a time counts.
#[test]
fn memory() {
    let mut line = GpuTimeline::default();
    for (ts_ns, bytes) in [(100, 5), (200, 5), (300, 9), (400, 2), (500, 2)] {
        line.add(&GpuLook { memory_bytes: Some(bytes), ..look(ts_ns) });
    }
    for (from, to, most) in [
        (0, 99, None),
        (0, 100, Some(5)),
        (150, 250, Some(5)),
        (250, 300, Some(9)),
        (301, 399, Some(9)),
        (400, 9_999, Some(2)),
        (450, 460, Some(2)),
        (501, 600, None),
        (200, 100, None),
    ] {
        assert_eq!(line.over(from, to).memory_bytes, most, "{from}..{to}");
    }
}

/// A steady GPU takes no memory, a restless one a bounded amount, and no sum is lost.
#[test]
fn memory_is_bounded() {
    let mut steady = Integral::default();
    let mut restless = Integral::default();
    let mut levels = Levels::default();
    let n = 3 * MAX_POINTS as u64;
    for tick in 0..n {
        steady.add(tick * 10, tick * 10 + 10, 400);
        restless.add(tick * 10, tick * 10 + 10, if tick % 2 == 0 { 1000 } else { 0 });
        levels.add(tick * 10, if tick == 7 { 1_000_000 } else { tick });
    }
    assert_eq!(steady.points.len(), 2);
    assert!(restless.points.len() <= MAX_POINTS && levels.points.len() <= MAX_POINTS);
    assert_eq!(restless.over(0, n * 10), (n / 2 * 1000, n * 10));
    // The newest times are exact, the oldest as good as their distance.
    assert_eq!(restless.over(n * 10 - 20, n * 10 - 10), (1000, 10));
    let (old, _) = restless.over(1_000, 101_000);
    assert!(old.abs_diff(5_000_000) < 20_000, "{old}");
    assert_eq!(levels.most(0, 1_000), Some(1_000_000), "a peak stays a peak");
}

/// Stretches as no driver would give them too: overlapping, empty, backwards.
fn stretches() -> impl Strategy<Value = Vec<(u64, u64, u8)>> {
    prop::collection::vec((0u64..40, 0u64..12, 0u8..=100), 0..20).prop_map(|all| {
        all.into_iter().map(|(from, length, percent)| (from, from + length, percent)).collect()
    })
}

proptest! {
    /// Any interval's busy time is the sum of its moments' percentages, each moment taken from the first stretch
    /// that knows it once later ones have begun; nothing is counted twice, nothing is made up.
    #[test]
    fn the_integral_is_the_sum_of_its_moments(all in stretches(), from in 0u64..60, length in 0u64..60) {
        let mut line = GpuTimeline::default();
        let mut moments = [None; 120];
        let mut known_to = 0;
        for &(begin, end, percent) in &all {
            line.add(&GpuLook { busy: vec![Busy(begin, end, percent)], ..look(end) });
            for at in begin.max(known_to)..end {
                moments[usize::try_from(at).unwrap()] = Some(u64::from(percent));
            }
            if end > begin {
                known_to = known_to.max(end);
            }
        }
        let seen = &moments[usize::try_from(from).unwrap()..usize::try_from(from + length).unwrap()];
        let overlap = line.over(from, from + length);
        prop_assert_eq!(overlap.covered_ns, seen.iter().flatten().count() as u64);
        prop_assert_eq!(overlap.busy, seen.iter().flatten().sum::<u64>());
    }

    /// Two neighbouring times are one: what they sum up to is what both together have.
    #[test]
    fn times_add_up(all in stretches(), mut cuts in prop::collection::vec(0u64..60, 3)) {
        cuts.sort_unstable();
        let mut line = GpuTimeline::default();
        for &(begin, end, percent) in &all {
            line.add(&GpuLook {
                busy: vec![Busy(begin, end, percent)],
                energy_mj: Some(end * 7),
                memory_bytes: Some(u64::from(percent)),
                ..look(end)
            });
        }
        let (a, b) = (line.over(cuts[0], cuts[1]), line.over(cuts[1], cuts[2]));
        let both = line.over(cuts[0], cuts[2]);
        prop_assert_eq!(a.busy + b.busy, both.busy);
        prop_assert_eq!(a.covered_ns + b.covered_ns, both.covered_ns);
        prop_assert_eq!(a.memory_bytes.max(b.memory_bytes), both.memory_bytes);
        let energy = |overlap: Overlap| overlap.energy_uj.unwrap_or(0);
        prop_assert!((energy(a) + energy(b)).abs_diff(energy(both)) <= 1, "rounding only");
    }

    /// The next part of a run still knows what was told last, and goes on from there.
    #[test]
    fn what_follows_goes_on(all in stretches(), cut in 0usize..20, from in 0u64..60, length in 0u64..60) {
        let mut line = GpuTimeline::default();
        let mut part = GpuTimeline::default();
        for (n, &(begin, end, percent)) in all.iter().enumerate() {
            if n == cut {
                part = line.after();
            }
            let look = GpuLook {
                busy: vec![Busy(begin, end, percent)],
                energy_mj: Some(n as u64 * 7),
                memory_bytes: Some(u64::from(percent)),
                ..look(end)
            };
            line.add(&look);
            if n >= cut {
                part.add(&look);
            }
        }
        if cut < all.len() {
            prop_assert_eq!(part.over(from, from + length), line.over(from, from + length));
        }
    }

    /// A recording may say anything.
    #[test]
    fn any_looks_are_taken(looks in prop::collection::vec(any::<(u64, u64, u64, u8, u64, u32)>(), 0..20), from: u64, to: u64) {
        let mut line = GpuTimeline::default();
        for (ts_ns, begin, end, percent, amount, power_mw) in looks {
            let is_counted = percent % 2 == 0;
            line.add(&GpuLook {
                busy: vec![Busy(begin, end, percent)],
                energy_mj: is_counted.then_some(amount),
                memory_bytes: Some(amount),
                power_mw: Some(power_mw),
                ..look(ts_ns)
            });
        }
        let overlap = line.over(from, to);
        prop_assert!(overlap.busy / 100 <= overlap.covered_ns);
        prop_assert!(overlap.covered_ns <= to.saturating_sub(from));
    }
}
