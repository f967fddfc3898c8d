//! The time that a part of a run counts: from its beginning to that of the next.

/// From a moment on, and until another; nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

impl Within {
    /// All of a run.
    pub(super) const ALL: Self = Self { from_ns: 0, until_ns: u64::MAX };

    pub(super) const fn from(from_ns: u64) -> Self {
        Self { from_ns, ..Self::ALL }
    }

    pub(super) const fn until(self, until_ns: u64) -> Self {
        Self { until_ns, ..self }
    }

    pub(super) const fn holds(self, at_ns: u64) -> bool {
        self.from_ns <= at_ns && at_ns < self.until_ns
    }

    /// How much of a stretch of time lies within.
    pub(super) fn part_ns(self, from_ns: u64, to_ns: u64) -> u64 {
        to_ns.min(self.until_ns).saturating_sub(from_ns.max(self.from_ns))
    }
}
