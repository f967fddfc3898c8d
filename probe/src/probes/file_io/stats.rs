//! The in-kernel statistics of calls on files, with those calls that were counted here because the class of their file
//! was not known in time.

use std::collections::BTreeMap;

use probe_common::{
    file_io::{Class, FileOpStats, Op, file_op_index},
    hist::{N_BUCKETS, bucket_of},
};

use crate::event::FileStats;

/// Calls that were counted here.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    by_kind: BTreeMap<(Class, Op), FileStats>,
}

impl Counted {
    /// Counts a call. `took_ns` is none where its entry was not seen.
    pub(super) fn add(&mut self, class: Class, op: Op, took_ns: Option<u64>, ret: i64) {
        let stats = self.by_kind.entry((class, op)).or_default();
        stats.calls += 1;
        if ret < 0 {
            stats.errors += 1;
        } else if matches!(op, Op::Read | Op::Write) {
            stats.bytes += ret.unsigned_abs();
        }
        let Some(took_ns) = took_ns else { return };
        stats.min_ns = if stats.buckets.is_empty() { took_ns } else { stats.min_ns.min(took_ns) };
        stats.max_ns = stats.max_ns.max(took_ns);
        stats.sum_ns += took_ns;
        add_to_bucket(&mut stats.buckets, u16::try_from(bucket_of(took_ns)).unwrap_or(u16::MAX), 1);
    }
}

fn add_to_bucket(buckets: &mut Vec<(u16, u64)>, bucket: u16, calls: u64) {
    match buckets.iter_mut().find(|(known, _)| *known == bucket) {
        Some((_, count)) => *count += calls,
        None => buckets.push((bucket, calls)),
    }
}

/// Sums the kernel's per-CPU statistics and what was counted here; `read` yields those of one index, one per CPU. Kinds
/// of calls that never happened are left out.
pub fn summarize<E>(
    counted: &Counted,
    mut read: impl FnMut(u32) -> Result<Vec<FileOpStats>, E>,
) -> Result<Vec<FileStats>, E> {
    let mut all = Vec::new();
    for &class in Class::ALL {
        for &op in Op::ALL {
            let mut stats = counted.by_kind.get(&(class, op)).cloned().unwrap_or_default();
            for cpu in read(file_op_index(class as u32, op as u32))? {
                add_cpu(&mut stats, &cpu);
            }
            if stats.calls > 0 {
                class.id().clone_into(&mut stats.class);
                op.id().clone_into(&mut stats.op);
                all.push(stats);
            }
        }
    }
    Ok(all)
}

fn add_cpu(stats: &mut FileStats, cpu: &FileOpStats) {
    stats.calls += cpu.calls;
    stats.errors += cpu.errors;
    stats.bytes += cpu.bytes;
    if cpu.timed == 0 {
        return;
    }
    stats.min_ns = if stats.buckets.is_empty() { cpu.min_ns } else { stats.min_ns.min(cpu.min_ns) };
    stats.max_ns = stats.max_ns.max(cpu.max_ns);
    stats.sum_ns += cpu.sum_ns;
    for bucket in (0..N_BUCKETS).filter(|bucket| cpu.buckets[*bucket] > 0) {
        add_to_bucket(&mut stats.buckets, u16::try_from(bucket).unwrap_or(u16::MAX), cpu.buckets[bucket]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What both sides counted stands in one sum; nothing that never happened stands there.
    #[test]
    fn both_sides_are_summed() {
        let mut counted = Counted::default();
        counted.add(Class::Checkpoint, Op::Write, Some(1000), 10);
        counted.add(Class::Checkpoint, Op::Write, None, -28);
        let mut cpu = FileOpStats {
            calls: 2,
            errors: 0,
            bytes: 5,
            timed: 2,
            sum_ns: 60,
            min_ns: 20,
            max_ns: 40,
            reserved: 0,
            buckets: [0; N_BUCKETS],
        };
        cpu.buckets[bucket_of(20)] = 1;
        cpu.buckets[bucket_of(40)] = 1;
        let none = FileOpStats { calls: 0, bytes: 0, timed: 0, sum_ns: 0, buckets: [0; N_BUCKETS], ..cpu };
        let write = file_op_index(Class::Checkpoint as u32, Op::Write as u32);
        let all = summarize::<()>(&counted, |index| Ok(vec![none, if index == write { cpu } else { none }]))
            .unwrap();
        assert_eq!(all.len(), 1);
        let sum = &all[0];
        assert_eq!((sum.class.as_str(), sum.op.as_str()), ("checkpoint", "write"));
        assert_eq!((sum.calls, sum.errors, sum.bytes, sum.sum_ns), (4, 1, 15, 1060));
        assert_eq!((sum.min_ns, sum.max_ns, sum.buckets.len()), (20, 1000, 3));
    }
}
