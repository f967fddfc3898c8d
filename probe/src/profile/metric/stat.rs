//! Which value of a distribution.

/// A percentile, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile(u16);

impl Percentile {
    /// The median.
    pub const P50: Self = Self(500);
    /// 90 %.
    pub const P90: Self = Self(900);
    /// 95 %.
    pub const P95: Self = Self(950);
    /// 99 %.
    pub const P99: Self = Self(990);
    /// 99.9 %.
    pub const P999: Self = Self(999);

    /// As a share, above 0 and below 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// The rank (1 is the smallest) of this percentile among `count` values, by nearest rank.
    /// Integers, because `0.95 * 20` is not 19 in floating point.
    pub fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.0)).div_ceil(1000);
        u64::try_from(rank).unwrap_or(u64::MAX)
    }
}

/// Which value of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// A percentile by nearest rank.
    Percentile(Percentile),
    /// The arithmetic mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl Stat {
    const ALL: [(&'static str, Self); 8] = [
        ("p50", Self::Percentile(Percentile::P50)),
        ("p90", Self::Percentile(Percentile::P90)),
        ("p95", Self::Percentile(Percentile::P95)),
        ("p99", Self::Percentile(Percentile::P99)),
        ("p999", Self::Percentile(Percentile::P999)),
        ("mean", Self::Mean),
        ("max", Self::Max),
        ("min", Self::Min),
    ];

    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(_, stat)| stat)
    }

    /// As profiles write it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, stat)| *stat == self).map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest_ranks() {
        for (percentile, count, rank) in [
            (500, 1, 1),
            (500, 4, 2),
            (950, 19, 19),
            (950, 20, 19),
            (950, 100, 95),
            (990, 100, 99),
            (990, 101, 100),
            (999, 1000, 999),
            (950, 0, 0),
        ] {
            assert_eq!(Percentile(percentile).rank(count), rank, "{percentile} of {count}");
        }
    }
}
