//! Levels over time, bounded: what was looked at close together becomes one moment, with the highest of each level.

use serde::{Deserialize, Serialize};

/// With more, two neighbours become one.
const MAX_MOMENTS: usize = 240;

/// The levels at one moment; shares in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// CPU time of the target as a share of all cores.
    pub cpu: Option<u64>,
    /// CPU time of the machine as a share of all cores.
    pub machine_cpu: Option<u64>,
    /// Waiting for a CPU, per time.
    pub run_queue: Option<u64>,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Open file descriptors.
    pub fds: Option<u64>,
    /// Established connections.
    pub connections: Option<u64>,
}

/// See the head of this file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    doublings: u32,
    /// Looks that went into the last moment.
    n_last: u32,
    moments: Vec<(u64, Moment)>,
}

impl Moment {
    fn max(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            machine_cpu: self.machine_cpu.max(other.machine_cpu),
            run_queue: self.run_queue.max(other.run_queue),
            rss_bytes: self.rss_bytes.max(other.rss_bytes),
            fds: self.fds.max(other.fds),
            connections: self.connections.max(other.connections),
        }
    }
}

impl History {
    /// Adds a look, which was made at this moment.
    pub(super) fn add(&mut self, ts_ns: u64, moment: Moment) {
        match self.moments.last_mut() {
            Some((at_ns, last)) if self.n_last < 1 << self.doublings.min(30) => {
                (*at_ns, *last) = (ts_ns, last.max(moment));
                self.n_last += 1;
            }
            _ => {
                self.moments.push((ts_ns, moment));
                self.n_last = 1;
            }
        }
        if self.moments.len() > MAX_MOMENTS {
            self.doublings += 1;
            let pairs = self.moments.chunks(2);
            self.moments = pairs
                .filter_map(|pair| {
                    let (ts_ns, _) = pair.last()?;
                    let highest =
                        pair.iter().fold(Moment::default(), |highest, (_, moment)| highest.max(*moment));
                    Some((*ts_ns, highest))
                })
                .collect();
        }
    }

    /// The same, by another clock.
    pub(super) fn shifted(mut self, shift_ns: i64) -> Self {
        self.moments.iter_mut().for_each(|(ts_ns, _)| *ts_ns = ts_ns.saturating_add_signed(shift_ns));
        self
    }

    /// In the order of time, each with the moment of its last look.
    pub fn moments(&self) -> &[(u64, Moment)] {
        &self.moments
    }
}
