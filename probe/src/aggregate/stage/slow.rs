//! Calls on files that were slow: how many, and the slowest.

use serde::{Deserialize, Serialize};

use crate::event::SlowCall;

/// Calls that are named.
const MAX_NAMED: usize = 10;

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowCalls {
    /// All of them.
    pub calls: u64,
    /// Sum of their time, nanoseconds.
    pub took_ns: u64,
    /// The slowest, slowest first.
    pub slowest: Vec<SlowCall>,
}

impl SlowCalls {
    pub(super) fn add(&mut self, call: &SlowCall) {
        self.calls = self.calls.saturating_add(1);
        self.took_ns = self.took_ns.saturating_add(call.took_ns);
        let at = self.slowest.partition_point(|known| known.took_ns >= call.took_ns);
        if at < MAX_NAMED {
            self.slowest.insert(at, call.clone());
            self.slowest.truncate(MAX_NAMED);
        }
    }

    pub(super) fn merge(&mut self, other: &Self, shift_ns: i64) {
        let (calls, took_ns) = (self.calls, self.took_ns);
        for call in &other.slowest {
            self.add(&SlowCall { ts_ns: call.ts_ns.saturating_add_signed(shift_ns), ..call.clone() });
        }
        self.calls = calls.saturating_add(other.calls);
        self.took_ns = took_ns.saturating_add(other.took_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(took_ns: u64) -> SlowCall {
        SlowCall {
            ts_ns: 1,
            pid: 1,
            tid: 1,
            op: "fsync".to_owned(),
            class: "checkpoint".to_owned(),
            path: "/x".to_owned(),
            took_ns,
        }
    }

    proptest! {
        /// However the calls are spread over two runs: the slowest are those of all, and none is forgotten in the sums.
        #[test]
        fn the_slowest_of_all(a in prop::collection::vec(0u64..1 << 40, 0..30), b in prop::collection::vec(0u64..1 << 40, 0..30)) {
            let of = |times: &[u64]| {
                let mut slow = SlowCalls::default();
                for took_ns in times {
                    slow.add(&call(*took_ns));
                }
                slow
            };
            let mut merged = of(&a);
            merged.merge(&of(&b), 0);
            let mut all = [a, b].concat();
            prop_assert_eq!(&merged, &of(&all));
            all.sort_unstable_by(|a, b| b.cmp(a));
            let named: Vec<u64> = merged.slowest.iter().map(|call| call.took_ns).collect();
            prop_assert_eq!(&named[..], &all[..all.len().min(MAX_NAMED)]);
            prop_assert_eq!((merged.calls, merged.took_ns), (all.len() as u64, all.iter().sum::<u64>()));
        }
    }
}
