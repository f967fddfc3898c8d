//! What a GPU did over any stretch of a run: the join of requests, stages and phases with it. Pure.
//!
//! Time is all that the two have in common: a driver does not know which request a kernel runs for. So what stands
//! beside a request is what the GPU did *while* it was in the application, whoever asked for it.
//!
//! A run is of any length, memory is not: past [`MAX_POINTS`] the older half of a series keeps every other point.
//! Sums stay exact at the points that are left, and between them are spread evenly.

use crate::event::{Busy, GpuLook};

/// Points of a series: at 16 bytes to 32 each, 4 MiB for the two integrals and the level of a GPU at most.
const MAX_POINTS: usize = 1 << 16;
/// Points that go on into the next part of a run, for what began in the part before: a minute or more.
const MAX_KEPT: usize = 1 << 10;

/// What a GPU did over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overlap {
    /// How much of the time is known, nanoseconds.
    pub covered_ns: u64,
    /// Its utilisation over that, in hundredths of a nanosecond: divided by `covered_ns` a percentage.
    pub busy: u64,
    /// Its energy, microjoules, over the part of the time for which that is known; none where it is for none.
    pub energy_uj: Option<u64>,
    /// The most memory in use, bytes.
    pub memory_bytes: Option<u64>,
}

/// The course of one GPU.
#[derive(Clone, Debug, Default)]
pub struct GpuTimeline {
    busy: Integral,
    energy: Integral,
    memory: Levels,
    energy_mj: Option<(u64, u64)>,
    power_mw: Option<(u64, u32)>,
    /// It counts its energy itself; else that is made of its power.
    counts_energy: bool,
}

impl GpuTimeline {
    /// Takes what was read; looks must come in the order of time.
    pub fn add(&mut self, look: &GpuLook) {
        for &Busy(from_ns, to_ns, percent) in &look.busy {
            let time_ns = to_ns.saturating_sub(from_ns);
            self.busy.add(from_ns, to_ns, time_ns.saturating_mul(u64::from(percent.min(100))));
        }
        if let Some(bytes) = look.memory_bytes {
            self.memory.add(look.ts_ns, bytes);
        }
        if let Some(energy_mj) = look.energy_mj {
            self.counts_energy = true;
            if let Some((before_ns, before_mj)) = self.energy_mj.replace((look.ts_ns, energy_mj)) {
                // It begins anew with the driver.
                let used_uj = energy_mj.saturating_sub(before_mj).saturating_mul(1000);
                self.energy.add(before_ns, look.ts_ns, used_uj);
            }
        }
        if let Some(power_mw) = look.power_mw
            && let Some((before_ns, before_mw)) = self.power_mw.replace((look.ts_ns, power_mw))
            && !self.counts_energy
        {
            let time_ns = u128::from(look.ts_ns.saturating_sub(before_ns));
            let used_uj = time_ns * u128::from(before_mw.midpoint(power_mw)) / 1_000_000;
            self.energy.add(before_ns, look.ts_ns, u64::try_from(used_uj).unwrap_or(u64::MAX));
        }
    }

    /// What follows, from where it stands, with what was told last.
    #[must_use]
    pub fn after(&self) -> Self {
        let memory = Levels { points: tail(&self.memory.points), until_ns: self.memory.until_ns };
        Self {
            busy: Integral { points: tail(&self.busy.points) },
            energy: Integral { points: tail(&self.energy.points) },
            memory,
            energy_mj: self.energy_mj,
            power_mw: self.power_mw,
            counts_energy: self.counts_energy,
        }
    }

    /// What it did from one moment to another.
    pub fn over(&self, from_ns: u64, to_ns: u64) -> Overlap {
        let (busy, covered_ns) = self.busy.over(from_ns, to_ns);
        let (energy_uj, known_ns) = self.energy.over(from_ns, to_ns);
        Overlap {
            covered_ns,
            busy,
            energy_uj: (known_ns > 0).then_some(energy_uj),
            memory_bytes: self.memory.most(from_ns, to_ns),
        }
    }

    /// What it did in all the time that is known.
    pub fn whole(&self) -> Overlap {
        self.over(0, u64::MAX)
    }

    /// Energy was made of power readings.
    pub const fn is_energy_estimated(&self) -> bool {
        !self.counts_energy
    }
}

/// A sum that grows evenly over stretches of time, with gaps between them of which nothing is known.
#[derive(Clone, Debug, Default)]
struct Integral {
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at_ns: u64,
    sum: u64,
    covered_ns: u64,
}

impl Integral {
    /// Adds a stretch behind those before; of one that reaches into them, the part behind.
    fn add(&mut self, from_ns: u64, to_ns: u64, amount: u64) {
        let last = self.points.last().copied();
        let start_ns = last.map_or(from_ns, |last| last.at_ns.max(from_ns));
        if to_ns <= start_ns {
            return;
        }
        let amount = share(amount, to_ns - start_ns, to_ns - from_ns);
        let start = match last {
            Some(last) if last.at_ns == start_ns => last,
            other => {
                let Point { sum, covered_ns, .. } =
                    other.unwrap_or(Point { at_ns: 0, sum: 0, covered_ns: 0 });
                self.push(Point { at_ns: start_ns, sum, covered_ns })
            }
        };
        let end = Point {
            at_ns: to_ns,
            sum: start.sum.saturating_add(amount),
            covered_ns: start.covered_ns.saturating_add(to_ns - start_ns),
        };
        // A line that goes on as it was needs no point: an idle GPU takes no memory.
        if let [.., before, last] = self.points.as_mut_slice()
            && is_straight(*before, *last, end)
        {
            *last = end;
        } else {
            self.push(end);
        }
    }

    fn push(&mut self, point: Point) -> Point {
        if self.points.len() >= MAX_POINTS {
            thin(&mut self.points);
        }
        self.points.push(point);
        point
    }

    /// The sum over a time, and how much of that time is known.
    fn over(&self, from_ns: u64, to_ns: u64) -> (u64, u64) {
        let (from, to) = (self.at(from_ns), self.at(to_ns));
        (to.sum.saturating_sub(from.sum), to.covered_ns.saturating_sub(from.covered_ns))
    }

    fn at(&self, at_ns: u64) -> Point {
        let behind = self.points.partition_point(|point| point.at_ns <= at_ns);
        let before = behind.checked_sub(1).and_then(|index| self.points.get(index));
        match (before, self.points.get(behind)) {
            (None, None) => Point { at_ns, sum: 0, covered_ns: 0 },
            (None, Some(only)) | (Some(only), None) => *only,
            (Some(before), Some(after)) => {
                let (part, whole) = (at_ns - before.at_ns, after.at_ns - before.at_ns);
                Point {
                    at_ns,
                    sum: before.sum + share(after.sum - before.sum, part, whole),
                    covered_ns: before.covered_ns + share(after.covered_ns - before.covered_ns, part, whole),
                }
            }
        }
    }
}

/// All three on one line, with nothing unknown between them.
fn is_straight(a: Point, b: Point, c: Point) -> bool {
    let rise = |from: Point, to: Point| u128::from(to.sum - from.sum);
    let run = |from: Point, to: Point| u128::from(to.at_ns - from.at_ns);
    let is_known = |from: Point, to: Point| to.covered_ns - from.covered_ns == to.at_ns - from.at_ns;
    is_known(a, b) && is_known(b, c) && rise(a, b) * run(b, c) == rise(b, c) * run(a, b)
}

/// `amount` times `part` of `whole`; `part` is at most `whole`, which is not 0.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(amount) * u128::from(part) / u128::from(whole)).unwrap_or(u64::MAX)
}

/// A level that holds from each reading to the next.
#[derive(Clone, Debug, Default)]
struct Levels {
    points: Vec<(u64, u64)>,
    /// The last reading, which may have brought no new point.
    until_ns: u64,
}

impl Levels {
    fn add(&mut self, at_ns: u64, level: u64) {
        self.until_ns = self.until_ns.max(at_ns);
        if self.points.last().is_some_and(|(last_ns, last)| *last == level || *last_ns >= at_ns) {
            return;
        }
        if self.points.len() >= MAX_POINTS {
            // Neighbours become one that holds the higher of their levels from the beginning of the first.
            let half = self.points.len() / 2;
            let merged = self.points[..half].chunks(2).map(|pair| {
                let most = pair.iter().map(|(_, level)| *level).max().unwrap_or_default();
                (pair[0].0, most)
            });
            let merged: Vec<_> = merged.collect();
            self.points.splice(..half, merged);
        }
        self.points.push((at_ns, level));
    }

    /// The highest level in a time; none where nothing is known of any of it.
    fn most(&self, from_ns: u64, to_ns: u64) -> Option<u64> {
        let first = self.points.first()?.0;
        if to_ns < first || from_ns > self.until_ns || to_ns < from_ns {
            return None;
        }
        let begin = self.points.partition_point(|(at_ns, _)| *at_ns <= from_ns).saturating_sub(1);
        let end = self.points.partition_point(|(at_ns, _)| *at_ns <= to_ns);
        self.points.get(begin..end)?.iter().map(|(_, level)| *level).max()
    }
}

/// The newest points.
fn tail<T: Copy>(points: &[T]) -> Vec<T> {
    points[points.len().saturating_sub(MAX_KEPT)..].to_vec()
}

/// Every other point of the older half goes.
fn thin<T: Copy>(points: &mut Vec<T>) {
    let half = points.len() / 2;
    let mut index = 0;
    points.retain(|_| {
        index += 1;
        index > half || index % 2 == 1
    });
}

#[cfg(test)]
#[path = "gpu_tests.rs"]
mod tests;
