//! Bucket arithmetic of the in-kernel histograms, the same on both sides.
//!
//! Base-2 buckets with eight linear steps each ("H2", grouping power 3): a value lies at most 1/8 of its
//! size below its bucket's upper end, and the middle of the bucket is off by at most 6.25 %.

/// Linear steps within a power of two, as a power of two.
const GROUPING_POWER: u32 = 3;

/// Number of buckets that cover all of `u64`.
pub const N_BUCKETS: usize = ((64 - GROUPING_POWER + 1) as usize) << GROUPING_POWER;

/// Durations of calls as the kernel keeps them, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Durations {
    /// Calls that stand in here: those whose entry was seen too.
    pub timed: u64,
    /// Sum, nanoseconds.
    pub sum_ns: u64,
    /// Shortest, nanoseconds; 0 when `timed` is 0.
    pub min_ns: u64,
    /// Longest, nanoseconds.
    pub max_ns: u64,
    /// Calls per bucket.
    pub buckets: [u64; N_BUCKETS],
}

impl Durations {
    /// Nothing yet.
    pub const NONE: Self = Self { timed: 0, sum_ns: 0, min_ns: 0, max_ns: 0, buckets: [0; N_BUCKETS] };

    /// Takes in one duration. `bucket` is that of [`bucket_of`], which the kernel side has to show to its verifier as a
    /// bounded number first; one out of range is left out.
    #[inline(always)]
    pub const fn record(&mut self, took_ns: u64, bucket: usize) {
        if self.timed == 0 || took_ns < self.min_ns {
            self.min_ns = took_ns;
        }
        if took_ns > self.max_ns {
            self.max_ns = took_ns;
        }
        self.timed += 1;
        self.sum_ns += took_ns;
        if bucket < N_BUCKETS {
            self.buckets[bucket] += 1;
        }
    }
}

// SAFETY: `repr(C)`, only `u64`: no padding, every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Durations {}

/// The bucket of `value`; always below [`N_BUCKETS`].
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "both are below N_BUCKETS")]
pub const fn bucket_of(value: u64) -> usize {
    if value < 1 << (GROUPING_POWER + 1) {
        return value as usize;
    }
    let power = value.ilog2();
    let step = (value >> (power - GROUPING_POWER)) & ((1 << GROUPING_POWER) - 1);
    (((power - GROUPING_POWER + 1) as usize) << GROUPING_POWER) + step as usize
}

/// Smallest and largest value of a bucket.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a bucket is below N_BUCKETS")]
pub const fn bounds_of(bucket: usize) -> (u64, u64) {
    let linear = 1 << (GROUPING_POWER + 1);
    if bucket < linear {
        return (bucket as u64, bucket as u64);
    }
    let power = (bucket >> GROUPING_POWER) as u32 + GROUPING_POWER - 1;
    let width = 1u64 << (power - GROUPING_POWER);
    let step = (bucket & ((1 << GROUPING_POWER) - 1)) as u64;
    let low = (1u64 << power) + step * width;
    (low, low + (width - 1))
}

#[cfg(test)]
mod tests {
    use super::{N_BUCKETS, bounds_of, bucket_of};

    /// Buckets are contiguous, in order, and cover everything from 0 to `u64::MAX`.
    #[test]
    fn buckets_tile_the_range() {
        let mut next = 0u64;
        for bucket in 0..N_BUCKETS {
            let (low, high) = bounds_of(bucket);
            assert_eq!(low, next, "bucket {bucket} starts where the one before ended");
            assert!(high >= low);
            assert_eq!(bucket_of(low), bucket);
            assert_eq!(bucket_of(high), bucket);
            next = high.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last bucket ends at u64::MAX");
    }

    /// The relative width of a bucket never exceeds one eighth.
    #[test]
    fn buckets_are_narrow() {
        for bucket in 0..N_BUCKETS {
            let (low, high) = bounds_of(bucket);
            assert!((high - low) <= low / 8, "bucket {bucket}: {low}..{high}");
        }
    }
}
