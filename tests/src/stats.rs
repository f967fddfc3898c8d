//! Exact percentiles of a list, and what counts as agreement.

use anyhow::{Result, ensure};

use crate::host;

/// The percentile by nearest rank of a sorted list: the smallest value that `share` of them don't exceed.
///
/// # Panics
/// On an empty list: a percentile of nothing is a mistake in the test.
#[must_use]
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    assert!(!sorted.is_empty(), "a percentile of nothing");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= rank <= len")]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Sorts a list of seconds.
#[must_use]
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Whether a percentile of measurements is that of a list: on the value by nearest rank, or between its `spared` neighbours
/// on either side. The list holds the same things measured elsewhere, of which so many may differ in the tail, where a
/// clock was read on the other side of an interruption.
pub fn agree_but_for(
    spared: usize,
    what: &str,
    (sorted, share): (&[f64], f64),
    tolerance: Tolerance,
    got: f64,
) -> Result<()> {
    let apart = spared as f64 / sorted.len() as f64;
    let low = percentile(sorted, share - apart);
    let high = percentile(sorted, share + apart);
    tolerance.agree(what, got.clamp(low, high), got)
}

/// How far two measurements of the same thing may lie apart: the larger of a share and an absolute value.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Share of the expected value.
    pub relative: f64,
    /// Seconds.
    pub absolute: f64,
}

/// Two clocks in the same kernel: 2 % or 200 us.
pub const WIRE: Tolerance = Tolerance { relative: 0.02, absolute: 200e-6 };
/// Against a client's log, which holds the client's own scheduling: 5 %, at least 1 ms.
pub const CLIENT: Tolerance = Tolerance { relative: 0.05, absolute: 1e-3 };

impl Tolerance {
    /// The widest allowed distance from `expected`.
    #[must_use]
    pub fn around(self, expected: f64) -> f64 {
        (expected.abs() * self.relative).max(self.absolute)
    }

    /// Fails, with both values, when they lie further apart than allowed, unless the machine is emulated: there each
    /// clock stands still when the others go on.
    pub fn agree(self, what: &str, expected: f64, got: f64) -> Result<()> {
        let distance = (got - expected).abs();
        ensure!(
            distance <= self.around(expected) || host::is_emulated(),
            "{what}: expected {:.3} ms, got {:.3} ms, {:.3} ms ({:.1} %) apart",
            expected * 1e3,
            got * 1e3,
            distance * 1e3,
            100.0 * distance / expected
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Tolerance, percentile, sorted};

    /// Nearest rank: p50 of four values is the second, p100 the last, p0 the first.
    #[test]
    #[expect(clippy::float_cmp, reason = "a percentile is one of the values, untouched")]
    fn nearest_rank() {
        let values = sorted([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(percentile(&values, 0.5), 2.0);
        assert_eq!(percentile(&values, 0.51), 3.0);
        assert_eq!(percentile(&values, 1.0), 4.0);
        assert_eq!(percentile(&values, 0.0), 1.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
    }

    /// The larger of the two tolerances decides, in both directions.
    #[test]
    fn agreement_has_two_bounds() {
        let tolerance = Tolerance { relative: 0.02, absolute: 200e-6 };
        assert!(tolerance.agree("short", 1e-3, 1.19e-3).is_ok());
        assert!(tolerance.agree("short", 1e-3, 0.79e-3).is_err());
        assert!(tolerance.agree("long", 1.0, 1.019).is_ok());
        assert!(tolerance.agree("long", 1.0, 0.97).is_err());
        assert!(tolerance.agree("nothing", 1.0, f64::NAN).is_err());
    }
}
